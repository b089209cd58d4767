/** Lengths that a peer announces and does not mean: refused before memory is made for them, each a hundred times. */
import { describe, expect, it } from "@effect/vitest"
import { Result } from "effect"
import { PassThrough } from "node:stream"
import { setImmediate as turn } from "node:timers/promises"
import * as Datagram from "../../../src/domain/discovery/Datagram.ts"
import { maxFrameBytes } from "../../../src/domain/NodeInfo.ts"
import * as BulkFrames from "../../../src/domain/transfer/BulkFrames.ts"
import * as Entries from "../../../src/domain/wire/Entries.ts"
import * as FrameAssembler from "../../../src/domain/wire/FrameAssembler.ts"
import * as JobDepends from "../../../src/domain/wire/JobDepends.ts"
import * as SlotFrames from "../../../src/domain/wire/SlotFrames.ts"
import * as BulkPeer from "../../../src/layers/bulk/BulkPeer.ts"
import * as Values from "../../../src/slot/Values.ts"

const times = 100

/** Bytes that are not in V8's heap, where buffers are. */
const buffers = (): number => process.memoryUsage().arrayBuffers

/** Does it a hundred times, and keeps what is given: 100 buffers of a bomb would be seen. */
const harmless = (run: () => unknown): void => {
  const before = buffers()
  const kept = Array.from({ length: times }, run)
  expect(buffers() - before).toBeLessThan(1024 * 1024)
  expect(kept).toHaveLength(times)
}

const u32 = (value: number): Uint8Array => {
  const bytes = Buffer.alloc(4)
  bytes.writeUInt32LE(value)
  return bytes
}

const varint = (value: bigint): Uint8Array => {
  const bytes: Array<number> = []
  for (let left = value; bytes.length === 0 || left > 0n; left >>= 7n) {
    bytes.push(Number(left & 0x7fn) | (left > 0x7fn ? 0x80 : 0))
  }
  return Uint8Array.from(bytes)
}

const lengths = [2n ** 31n - 1n, 2n ** 31n, 2n ** 32n - 1n, 2n ** 53n, 2n ** 63n, 2n ** 64n - 1n]

describe("a length bomb is refused before it gets memory", () => {
  it.each([0n, BigInt(maxFrameBytes) + 1n, ...lengths])("as a control message of %s bytes", (length) => {
    const rules = { prefix: Uint8Array.of(1, 2), limit: maxFrameBytes }
    harmless(() => {
      expect(FrameAssembler.feed(FrameAssembler.make(), varint(length), rules)).toBeUndefined()
    })
  })

  it("as a control message of a byte, which has no room for what all begin with", () => {
    const rules = { prefix: Uint8Array.of(1, 2), limit: maxFrameBytes }
    harmless(() => expect(FrameAssembler.feed(FrameAssembler.make(), Uint8Array.of(1, 9), rules)).toBeUndefined())
  })

  it.each([BulkFrames.maxControlBytes + 1, 2 ** 31 - 1, 2 ** 31, 2 ** 32 - 1])(
    "as a frame of a bulk connection of %s bytes, or as data that nobody announced",
    async (size) => {
      const closed: Array<string> = []
      const peers = Array.from({ length: times }, (_, n) => {
        const peer = BulkPeer.make(BulkPeer.wireOf(new PassThrough()), BulkPeer.makeWindow(), () => ({
          onFrame: () => true,
          onData: () => false,
          onClose: (reason) => closed.push(reason)
        }))
        return { peer, type: n % 2 === 0 ? BulkFrames.Frame.put : BulkFrames.Frame.data }
      })
      const before = buffers()
      for (const { peer, type } of peers) BulkPeer.feed(peer, Buffer.concat([Uint8Array.of(type), u32(size), u32(0)]))
      expect(buffers() - before).toBeLessThan(1024 * 1024)
      expect(closed).toHaveLength(times)
      await turn()
    }
  )

  it("as an id in the greeting of a bulk connection: 255 bytes at most", () => {
    const start = Buffer.concat([Buffer.from(BulkFrames.magic, "latin1"), Uint8Array.of(BulkFrames.bulkVersion, 255)])
    harmless(() => expect(BulkFrames.readGreeting(start)._tag).toBe("Incomplete"))
    expect(BulkFrames.readGreeting(Buffer.concat([start, Buffer.alloc(255, 97)]))._tag).toBe("Greeted")
  })

  it.each([0, 1, 15, 2 ** 31 - 1, 2 ** 31, 2 ** 32 - 1])("as a job or a reply of %s bytes", (size) => {
    const entry = Buffer.concat([u32(size), Buffer.alloc(60)])
    harmless(() => expect([Entries.countJobs(entry), Entries.countReplies(entry)]).toEqual([-1, -1]))
  })

  it.each([1, 2 ** 31 - 1, 2 ** 31, 2 ** 32 - 1])("as a result or output of %s bytes in a small reply", (size) => {
    const fields = { jobId: 1, attempt: 1, outcome: Entries.Outcome.succeeded, flags: 0, startMillis: 1 }
    const none = { result: Entries.noBytes, stdout: Entries.noBytes, stderr: Entries.noBytes }
    const reply = Entries.encodeReply({ ...fields, ...none, durationMicros: 1 })
    for (const at of [28, 32]) {
      const bomb = reply.slice()
      bomb.set(u32(size), at)
      harmless(() => expect(Entries.countReplies(bomb)).toBe(-1))
    }
  })

  it.each([Number.NaN, Infinity, -Infinity, -1, 1e300])("as a time or a duration of %s", (value) => {
    const none = { result: Entries.noBytes, stdout: Entries.noBytes, stderr: Entries.noBytes }
    const fields = { jobId: 1, attempt: 1, outcome: Entries.Outcome.succeeded, flags: 0, ...none }
    harmless(() => {
      expect(Entries.countReplies(Entries.encodeReply({ ...fields, startMillis: value, durationMicros: 1 }))).toBe(-1)
      expect(Entries.countReplies(Entries.encodeReply({ ...fields, startMillis: 1, durationMicros: value }))).toBe(-1)
    })
  })

  it.each([2 ** 31 - 1, 2 ** 31, 2 ** 32 - 1])("as what a job takes along, of %s bytes", (size) => {
    harmless(() => expect(JobDepends.split(Buffer.concat([u32(size), Buffer.alloc(40)]))).toBeUndefined())
  })

  it.each([0, 4, 2 ** 31 - 1, 2 ** 31, 2 ** 32 - 1])("as a frame of a slot of %s bytes", (size) => {
    harmless(() => {
      const seen: Array<number> = []
      const reader = SlotFrames.makeFrameReader(maxFrameBytes, (type) => seen.push(type))
      expect(reader.feed(Buffer.concat([u32(size), Buffer.alloc(16)]))).toBe(false)
      expect(seen).toEqual([])
    })
  })

  it.each([Datagram.maxBytes + 1, 65_507])("as a datagram of %s bytes, which is not parsed", (size) => {
    const bytes = Buffer.alloc(size, "[")
    bytes.write("dispy\u0001\0", 0, "latin1")
    harmless(() => expect(Datagram.decode(bytes, undefined)).toEqual(Result.fail("junk")))
  })

  it("as a value: a million levels, ten million properties, and sizes of all kinds", () => {
    const version = Values.encode(1)[0]!
    const value = (...bytes: ReadonlyArray<number | Uint8Array>): Uint8Array =>
      Buffer.concat([Uint8Array.of(version), ...bytes.map((one) => typeof one === "number" ? Uint8Array.of(one) : one)])
    const million = value(Buffer.alloc(1_000_000, 0xc1), 0)
    harmless(() => expect(() => Values.decode(million)).toThrow(/nested deeper/))
    const tags = [0xe9, 0xea, 0xeb, 0xed, 0xee, 0xf0, 0xf1, 0xf4, 0xf5, 0xf6, 0xfa, 0xfb]
    for (const tag of tags) {
      for (const length of [10_000_000n, ...lengths]) {
        for (const bomb of [value(tag, varint(length), 0), value(tag, 0, varint(length), 0)]) {
          harmless(() => expect(() => Values.decode(bomb)).toThrow(/not an encoded value/))
        }
      }
    }
  })
})
