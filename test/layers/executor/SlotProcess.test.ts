import type { ChildProcess } from "node:child_process"
import { EventEmitter } from "node:events"
import { PassThrough } from "node:stream"
import { setImmediate as turn } from "node:timers/promises"
import { describe, expect, it } from "vitest"
import type { PoolEvent } from "../../../src/domain/node/SlotPoolEvent.ts"
import * as Entries from "../../../src/domain/wire/Entries.ts"
import * as SlotFrames from "../../../src/domain/wire/SlotFrames.ts"
import * as SlotProcess from "../../../src/layers/executor/SlotProcess.ts"
import { hostileBytes, makeRandom } from "../../support/HostileFrames.ts"

const aReply = (jobId: number): Uint8Array =>
  Entries.encodeReply({
    jobId,
    attempt: 0,
    outcome: Entries.Outcome.succeeded,
    flags: 0,
    startMillis: 1,
    durationMicros: 1,
    result: Uint8Array.of(1, 2, 3),
    stdout: Entries.noBytes,
    stderr: Entries.noBytes
  })

/** A process on paper, as `spawn` would give it. */
const aSlot = () => {
  const streams = Array.from({ length: 5 }, () => new PassThrough())
  const child = Object.assign(new EventEmitter(), { pid: undefined, stdio: streams, exitCode: null, signalCode: null })
  const events: Array<PoolEvent> = []
  const slot = SlotProcess.adopt(child as unknown as ChildProcess, {
    id: 1,
    marker: "test.1",
    onFile: () => {},
    onEvent: (event) => events.push(event),
    onStray: () => {}
  })
  const end = async (): Promise<void> => {
    for (const stream of streams) stream.end()
    await turn()
    child.emit("exit", 0, null)
    await slot.reported
  }
  return { child, events, frames: streams[4]!, stdout: streams[1]!, end }
}

const { FromSlot } = SlotFrames

const validFrames = [
  SlotFrames.encodeFrame(FromSlot.ready, Uint8Array.of(1, 0, 0, 0)),
  SlotFrames.encodeFrame(FromSlot.refused, Buffer.from("no")),
  SlotFrames.encodeFrame(FromSlot.reply, aReply(1)),
  SlotFrames.encodeFrame(FromSlot.replyMarked, aReply(2)),
  SlotFrames.encodeFrame(FromSlot.listening, Uint8Array.of(1, 0, 0, 0)),
  SlotFrames.encodeFrame(
    FromSlot.output,
    Buffer.concat([Buffer.alloc(SlotFrames.outputHeaderBytes, 0), Buffer.from("text")])
  ),
  SlotFrames.encodeFrame(FromSlot.revoked, Entries.noBytes)
]

describe("what a slot writes", () => {
  it("becomes events in its order, the replies of one read as one", async () => {
    const { end, events, frames } = aSlot()
    frames.write(Buffer.concat([2, 2, 4, 2, 6].map((index) => validFrames[index]!)))
    await turn()
    expect(events.map((event) => event._tag)).toEqual(["Replied", "SlotListening", "Replied", "SlotRevoked"])
    expect(Entries.countReplies((events[0] as Extract<PoolEvent, { _tag: "Replied" }>).entries)).toBe(2)
    await end()
    expect(events.at(-1)).toMatchObject({ _tag: "SlotDied", death: { reason: "exited with code 0" } })
  })

  it("is read to its end before the slot's end is told, even if that is known first", async () => {
    const { child, events, frames } = aSlot()
    child.emit("exit", null, "SIGKILL")
    await turn()
    frames.write(validFrames[2]!)
    await turn()
    expect(events.map((event) => event._tag)).toEqual(["Replied"])
  })

  it("does no harm when it is random, truncated or has flipped bits: 10,000 streams", async () => {
    const random = makeRandom(20_240)
    let brokenSlots = 0
    for (let n = 0; n < 10_000; n++) {
      const { end, events, frames, stdout } = aSlot()
      const count = 1 + random(3)
      for (let i = 0; i < count; i++) frames.write(hostileBytes(validFrames, random, n + i))
      stdout.write(hostileBytes(validFrames, random, n))
      await end()
      expect(events.at(-1)!._tag).toBe("SlotDied")
      expect(events.filter((event) => event._tag === "SlotDied")).toHaveLength(1)
      for (const event of events) {
        if (event._tag === "Replied") expect(Entries.countReplies(event.entries)).toBeGreaterThan(0)
        if (event._tag === "SlotBroken") brokenSlots++
      }
    }
    expect(brokenSlots).toBeGreaterThan(1000)
  }, 120_000)
})
