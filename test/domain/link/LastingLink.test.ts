import { describe, expect, it } from "@effect/vitest"
import * as fc from "fast-check"
import * as LastingLink from "../../../src/domain/link/LastingLink.ts"
import { NodeUnreachable, NotLeased } from "../../../src/domain/NodeError.ts"

const unreachable = (isGone?: boolean): NodeUnreachable =>
  new NodeUnreachable({
    address: "render:51348",
    reason: "connection refused",
    ...(isGone === undefined ? {} : { isGone })
  })

const notLeased = new NotLeased({ node: "render", what: "a pulse" })

const ticks = (link: LastingLink.LastingLink, count: number): ReadonlyArray<LastingLink.Tick> =>
  Array.from({ length: count }, () => LastingLink.tick(link))

describe("LastingLink", () => {
  it("asks four times a pulse, breaks after two and a half silent ones, and loses the node after five and a quarter", () => {
    const link = LastingLink.make()
    expect(ticks(link, 10)).toEqual([...Array.from({ length: 9 }, () => "Pulse"), "Break"])
    expect(LastingLink.breakUp(link, LastingLink.silence)).toBe(true)
    expect(ticks(link, 11)).toEqual([...Array.from({ length: 10 }, () => "Wait"), "Lose"])
  })

  it("counts anew when the node was heard, or is connected again", () => {
    const link = LastingLink.make()
    ticks(link, 9)
    LastingLink.heard(link)
    expect(ticks(link, 9)).not.toContain("Break")
    LastingLink.breakUp(link, "the connection was reset")
    ticks(link, 5)
    LastingLink.resumed(link)
    expect(link.phase).toBe("Connected")
    expect(ticks(link, 10).slice(-2)).toEqual(["Pulse", "Break"])
  })

  it("breaks once, is lost once, and does not come back when it is lost", () => {
    const link = LastingLink.make()
    expect([LastingLink.breakUp(link, "reset"), LastingLink.breakUp(link, "again")]).toEqual([true, false])
    expect(link.reason).toBe("reset")
    expect([LastingLink.lose(link), LastingLink.lose(link)]).toEqual([true, false])
    LastingLink.resumed(link)
    expect(link.phase).toBe("Lost")
    expect(LastingLink.breakUp(link, "late")).toBe(false)
  })

  it("waits twice as long after each try, up to two seconds, and begins anew at the next break", () => {
    const link = LastingLink.make()
    LastingLink.breakUp(link, "reset")
    expect(Array.from({ length: 8 }, () => LastingLink.nextWait(link))).toEqual(
      [50, 100, 200, 400, 800, 1600, 2000, 2000]
    )
    LastingLink.resumed(link)
    LastingLink.breakUp(link, "reset")
    expect(LastingLink.nextWait(link)).toBe(50)
  })

  it("tries again where nobody answers, and not where it is no use", () => {
    const link = LastingLink.make()
    LastingLink.breakUp(link, "no sign of life")
    expect(LastingLink.hopeless(link, unreachable())).toBeUndefined()
    expect(LastingLink.hopeless(link, unreachable(true))).toBe("connection refused")
    expect(LastingLink.hopeless(link, notLeased)).toBe("no sign of life, and it has given the client up since")
    expect(LastingLink.hopeless(link, { _tag: "VersionMismatch", message: "another version" })).toBe("another version")
  })

  it("makes calls again whose connection broke, with a lease that was forgotten just once", () => {
    expect(LastingLink.isRepeated(unreachable(), false)).toBe(true)
    expect(LastingLink.isRepeated(unreachable(), true)).toBe(true)
    expect(LastingLink.isRepeated(notLeased, false)).toBe(true)
    expect(LastingLink.isRepeated(notLeased, true)).toBe(false)
    for (const error of [undefined, "broken", {}, { _tag: "ComputationRefused" }]) {
      expect(LastingLink.isRepeated(error, false)).toBe(false)
    }
  })

  it("never pulses over a connection that is broken, and never waits longer than five and a quarter pulses", () => {
    const happenings = fc.array(fc.constantFrom("tick", "heard", "break", "resume"), { maxLength: 200 })
    fc.assert(fc.property(happenings, (happened) => {
      const link = LastingLink.make()
      let silent = 0
      for (const what of happened) {
        if (what === "break") LastingLink.breakUp(link, "reset")
        if (what === "heard") LastingLink.heard(link)
        const isBack = what === "resume" && link.phase === "Broken"
        if (what === "resume") LastingLink.resumed(link)
        if (what === "heard" || isBack) silent = 0
        if (what !== "tick") continue
        const phase = link.phase
        const wanted = LastingLink.tick(link)
        expect(wanted === "Lose").toBe(++silent >= 21)
        if (wanted === "Pulse" || wanted === "Break") expect(phase).toBe("Connected")
        if (wanted === "Wait") expect(phase).toBe("Broken")
        if (wanted === "Lose") return
      }
    }))
  })
})
