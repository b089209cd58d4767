import * as fc from "fast-check"
import { describe, expect, it } from "vitest"
import { encodeReply, noBytes, Outcome, readReply, viewOf } from "../../../src/domain/wire/Entries.ts"
import { outputMarker } from "../../../src/domain/wire/SlotFrames.ts"
import * as SlotOutput from "../../../src/layers/executor/SlotOutput.ts"

const nonce = "n0nce"

const aReply = (jobId: number): Uint8Array =>
  encodeReply({
    jobId,
    attempt: 0,
    outcome: Outcome.succeeded,
    flags: 0,
    startMillis: 1,
    durationMicros: 1,
    result: noBytes,
    stdout: noBytes,
    stderr: noBytes
  })

const read = (entry: Uint8Array) => {
  const { jobId, stderr, stdout } = readReply(entry, viewOf(entry), 0)
  return { jobId, stdout: Buffer.from(stdout).toString(), stderr: Buffer.from(stderr).toString() }
}

describe("output of children", () => {
  it("belongs to the job whose marker follows, however the bytes are cut", () => {
    const noise = fc.constantFrom("", "hello\n", "\0", "\0dispy:", "\0dispy:other:1\0", `\0dispy:${nonce}`, "ü€")
    fc.assert(
      fc.property(
        fc.array(noise, { maxLength: 8 }),
        fc.infiniteStream(fc.integer({ min: 1, max: 9 })),
        (parts, sizes) => {
          const output = SlotOutput.make(1000, nonce)
          const bytes = Buffer.from(parts.map((part, i) => part + outputMarker(nonce, i)).join(""))
          for (let at = 0; at < bytes.length;) {
            const size = sizes.next().value
            SlotOutput.feed(output, 0, bytes.subarray(at, at + size))
            at += size
          }
          SlotOutput.feed(output, 1, Buffer.from(parts.map((_, i) => outputMarker(nonce, i)).join("")))
          parts.forEach((_, i) => SlotOutput.hold(output, aReply(i), true))
          expect(SlotOutput.release(output, false).map(read)).toEqual(
            parts.map((part, i) => ({ jobId: i, stdout: part, stderr: "" }))
          )
        }
      )
    )
  })

  it("holds a reply until both markers are there, and those behind it too", () => {
    const output = SlotOutput.make(1000, nonce)
    SlotOutput.hold(output, aReply(1), true)
    SlotOutput.hold(output, aReply(2), false)
    SlotOutput.feed(output, 0, Buffer.from(`out${outputMarker(nonce, 1)}`))
    expect(SlotOutput.release(output, false)).toEqual([])
    expect(SlotOutput.isPlain(output)).toBe(false)
    SlotOutput.feed(output, 1, Buffer.from(`err${outputMarker(nonce, 1)}`))
    expect(SlotOutput.release(output, false).map(read)).toEqual([
      { jobId: 1, stdout: "out", stderr: "err" },
      { jobId: 2, stdout: "", stderr: "" }
    ])
    expect(SlotOutput.isPlain(output)).toBe(true)
  })

  it("does not wait for a descriptor that is closed", () => {
    const output = SlotOutput.make(1000, nonce)
    SlotOutput.hold(output, aReply(1), true)
    SlotOutput.feed(output, 0, Buffer.from(`out${outputMarker(nonce, 1)}`))
    SlotOutput.feed(output, 1, Buffer.from("last words"))
    SlotOutput.end(output, 1)
    expect(SlotOutput.release(output, false).map(read)).toEqual([{ jobId: 1, stdout: "out", stderr: "last words" }])
  })
})

describe("output frames", () => {
  it("are refused when they are malformed", () => {
    const output = SlotOutput.make(100, nonce)
    for (const length of [0, 5, 12, 16]) expect(SlotOutput.pass(output, new Uint8Array(length))).toBe(false)
    const payload = new Uint8Array(19)
    viewOf(payload).setUint32(9, 3, true)
    expect(SlotOutput.pass(output, payload)).toBe(false)
    viewOf(payload).setUint32(9, 2, true)
    expect(SlotOutput.pass(output, payload)).toBe(true)
    viewOf(payload).setFloat64(1, Number.NaN, true)
    expect(SlotOutput.pass(output, payload)).toBe(false)
  })
})
