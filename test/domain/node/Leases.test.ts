/** The lease of a node: one client at a time, and its return in time. */
import * as fc from "fast-check"
import { describe, expect, it } from "vitest"
import * as Leases from "../../../src/domain/node/Leases.ts"

const request = (clientId: string, connection: number, newLeaseId = `${clientId}-${connection}`) => ({
  clientId,
  clientName: `user@${clientId}`,
  connection,
  newLeaseId
})

const held = (clientId: string, connection: number): Leases.Leases =>
  Leases.acquire(Leases.free, request(clientId, connection))[0]

describe("Leases", () => {
  it("gives a free node to the first client and names it to the second", () => {
    const [leases, first] = Leases.acquire(Leases.free, request("a", 1, "lease"))
    expect(first).toEqual({ _tag: "Granted", leaseId: "lease", isNew: true })
    expect(Leases.isHeldBy(leases, 1, "lease")).toBe(true)
    expect(Leases.isHeldBy(leases, 2, "lease")).toBe(false)
    expect(Leases.acquire(leases, request("b", 2))).toEqual([leases, { _tag: "Busy", holder: "user@a" }])
  })

  it("gives the same client the same lease on another connection", () => {
    const [leases, again] = Leases.acquire(held("a", 1), request("a", 2))
    expect(again).toEqual({ _tag: "Granted", leaseId: "a-1", isNew: false })
    expect(Leases.isHeldBy(leases, 2, "a-1")).toBe(true)
  })

  it("expires when the countdown that began with the last connection ends", () => {
    const broken = Leases.disconnect(held("a", 1), 1)
    expect(broken).toMatchObject({ _tag: "Held", countdown: 1 })
    const closing = Leases.expire(broken, 1)
    expect(closing).toMatchObject({ _tag: "Closing", holder: { leaseId: "a-1" } })
    expect(Leases.closed(closing, "a-1")).toEqual({ _tag: "Free", countdowns: 1 })
  })

  it("is not expired by the countdown of a connection that was replaced in time", () => {
    const broken = Leases.disconnect(held("a", 1), 1)
    const [back] = Leases.acquire(broken, request("a", 2))
    expect(Leases.expire(back, 1)).toBe(back)
    const brokenAgain = Leases.disconnect(back, 2)
    expect(Leases.expire(brokenAgain, 1)).toBe(brokenAgain)
    expect(Leases.expire(brokenAgain, 2)._tag).toBe("Closing")
  })

  it("goes on while another connection of the holder is there", () => {
    const [two] = Leases.acquire(held("a", 1), request("a", 2))
    expect(Leases.disconnect(two, 1)).toMatchObject({ _tag: "Held", countdown: undefined })
  })

  it("makes even its own client wait while it closes", () => {
    const closing = Leases.release(held("a", 1), "a-1")
    expect(Leases.acquire(closing, request("a", 1))[1]).toEqual({ _tag: "ClosingOwn" })
    expect(Leases.acquire(closing, request("b", 2))[1]).toEqual({ _tag: "Busy", holder: "user@a" })
    expect(Leases.isHeldBy(closing, 1, "a-1")).toBe(false)
  })

  it("is an orphan when its client does not come back and something is worth keeping, until that ends", () => {
    const orphan = Leases.expire(Leases.disconnect(held("a", 1), 1), 1, true)
    expect(orphan).toMatchObject({ _tag: "Orphan", holder: { leaseId: "a-1" }, isAwaited: true })
    expect(Leases.isHeldBy(orphan, 1, "a-1")).toBe(false)
    expect(Leases.acquire(orphan, request("b", 2))[1]).toEqual({ _tag: "Busy", holder: "user@a" })
    expect(Leases.giveUp(orphan)).toMatchObject({ _tag: "Orphan", isAwaited: false })
    const closing = Leases.end(orphan)
    expect(closing).toMatchObject({ _tag: "Closing", holder: { leaseId: "a-1" } })
    expect(Leases.resume(closing, { leaseId: "a-1", clientId: "a", connection: 3 })).toBeUndefined()
    expect(Leases.end(held("a", 1))._tag).toBe("Held")
  })

  it("is its client's again that comes back to an orphan, also by taking the same session", () => {
    const orphan = Leases.expire(Leases.disconnect(held("a", 1), 1), 1, true)
    const back = { leaseId: "a-1", clientId: "a", connection: 2 }
    expect(Leases.resume(orphan, { ...back, leaseId: "other" })).toBeUndefined()
    expect(Leases.resume(orphan, { ...back, clientId: "b" })).toBeUndefined()
    const resumed = Leases.resume(orphan, back)!
    expect(Leases.isHeldBy(resumed, 2, "a-1")).toBe(true)
    const [taken, decision] = Leases.acquire(orphan, request("a", 3))
    expect(decision).toEqual({ _tag: "Granted", leaseId: "a-1", isNew: false })
    expect(Leases.isHeldBy(taken, 3, "a-1")).toBe(true)
    // A countdown of before ends nothing.
    expect(Leases.expire(Leases.disconnect(taken, 3), 1)).toMatchObject({ _tag: "Held", countdown: 2 })
  })

  it("keeps its invariants, one holder, and fresh countdowns through any sequence of events", () => {
    const client = fc.constantFrom("a", "b", "c")
    const connection = fc.integer({ min: 1, max: 6 })
    const event = fc.oneof(
      fc.record({ _tag: fc.constant("acquire" as const), client, connection }),
      fc.record({ _tag: fc.constant("disconnect" as const), connection }),
      fc.record({
        _tag: fc.constant("expire" as const),
        countdown: fc.integer({ min: 0, max: 8 }),
        isWorthKeeping: fc.boolean()
      }),
      fc.record({ _tag: fc.constant("resume" as const), connection }),
      fc.record({ _tag: fc.constantFrom("giveUp" as const, "end" as const) }),
      fc.record({ _tag: fc.constant("release" as const) }),
      fc.record({ _tag: fc.constant("closed" as const) })
    )
    fc.assert(fc.property(fc.array(event, { maxLength: 60 }), (events) => {
      let leases = Leases.free
      let leaseCount = 0
      const connections = new Set<number>()
      for (const step of events) {
        const before = leases
        const leaseId = before._tag === "Free" ? "none" : before.holder.leaseId
        switch (step._tag) {
          case "acquire": {
            const [next, decision] = Leases.acquire(before, request(step.client, step.connection, `${++leaseCount}`))
            leases = next
            if (decision._tag === "Granted") {
              if (decision.isNew) connections.clear()
              connections.add(step.connection)
              expect(next).toMatchObject({ _tag: "Held", holder: { clientId: step.client } })
              expect(Leases.isHeldBy(next, step.connection, decision.leaseId)).toBe(true)
            } else expect(next).toBe(before)
            break
          }
          case "disconnect":
            leases = Leases.disconnect(before, step.connection)
            connections.delete(step.connection)
            expect(Leases.isHeldBy(leases, step.connection, leaseId)).toBe(false)
            break
          case "expire":
            leases = Leases.expire(before, step.countdown, step.isWorthKeeping)
            if (leases !== before) {
              expect(connections.size).toBe(0)
              expect(leases._tag).toBe(step.isWorthKeeping ? "Orphan" : "Closing")
            }
            break
          case "resume": {
            const resumed = Leases.resume(before, {
              leaseId,
              clientId: before._tag === "Free" ? "" : before.holder.clientId,
              connection: step.connection
            })
            expect(resumed !== undefined).toBe(before._tag === "Held" || before._tag === "Orphan")
            if (resumed === undefined) break
            leases = resumed
            connections.clear()
            connections.add(step.connection)
            break
          }
          case "giveUp":
            leases = Leases.giveUp(before)
            expect(leases._tag).toBe(before._tag)
            break
          case "end":
            leases = Leases.end(before)
            expect(leases._tag).toBe(before._tag === "Orphan" ? "Closing" : before._tag)
            break
          case "release":
            leases = Leases.release(before, leaseId)
            break
          case "closed":
            leases = Leases.closed(before, leaseId)
            break
        }
        expect(Leases.invariants(leases)).toEqual([])
        if (leases._tag === "Held") expect(new Set(leases.connections)).toEqual(connections)
      }
    }))
  })
})
