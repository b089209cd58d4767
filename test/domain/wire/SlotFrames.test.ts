import * as fc from "fast-check"
import { describe, expect, it } from "vitest"
import { encodeFrame, frameHeaderBytes, makeFrameReader } from "../../../src/domain/wire/SlotFrames.ts"

const frames = fc.array(
  fc.record({ type: fc.integer({ min: 0, max: 255 }), payload: fc.uint8Array({ maxLength: 60 }) })
)

describe("the frame reader", () => {
  it("gives back the frames of a stream, however it is cut into chunks", () => {
    fc.assert(fc.property(frames, fc.infiniteStream(fc.integer({ min: 1, max: 40 })), (sent, sizes) => {
      const stream = Uint8Array.from(sent.flatMap(({ payload, type }) => [...encodeFrame(type, payload)]))
      const read: Array<{ readonly type: number; readonly payload: Uint8Array }> = []
      const reader = makeFrameReader(1000, (type, payload) => read.push({ type, payload }))
      for (let offset = 0; offset < stream.length;) {
        const size = sizes.next().value
        expect(reader.feed(stream.subarray(offset, offset + size))).toBe(true)
        offset += size
      }
      // Payloads stay valid: they are compared only now.
      expect(read.map(({ payload, type }) => [type, ...payload])).toEqual(
        sent.map(({ payload, type }) => [type, ...payload])
      )
    }))
  })

  it("refuses a frame that is larger than the limit or smaller than its header, before it is there", () => {
    const reader = () => makeFrameReader(100, () => {})
    expect(reader().feed(Uint8Array.of(101, 0, 0, 0, 1))).toBe(false)
    expect(reader().feed(Uint8Array.of(frameHeaderBytes - 1, 0, 0, 0, 1))).toBe(false)
    expect(reader().feed(Uint8Array.of(100, 0, 0, 0, 1))).toBe(true)
  })
})
