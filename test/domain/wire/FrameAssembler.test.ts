/** Frames come out as they went in, however the bytes were cut; what is no frame is refused early. */
import * as fc from "fast-check"
import { describe, expect, it } from "vitest"
import * as FrameAssembler from "../../../src/domain/wire/FrameAssembler.ts"

const prefix = new Uint8Array([0x21, 0xA7])

const aFrame = (bodySize: number, fill = 7): Uint8Array => {
  const size = bodySize + prefix.length
  const header: Array<number> = []
  let rest = size
  for (; rest > 127; rest = Math.floor(rest / 128)) header.push((rest % 128) | 0x80)
  header.push(rest)
  return new Uint8Array([...header, ...prefix, ...new Uint8Array(bodySize).fill(fill)])
}

const rules = { prefix, limit: 100_000 }

describe("FrameAssembler", () => {
  it("gives back every byte in runs of whole frames, however they were cut", () => {
    const sizes = fc.array(fc.oneof(fc.integer({ min: 1, max: 300 }), fc.integer({ min: 1, max: 40_000 })), {
      minLength: 1,
      maxLength: 12
    })
    const cuts = fc.array(fc.oneof(fc.integer({ min: 1, max: 4 }), fc.integer({ min: 1, max: 20_000 })), {
      minLength: 1,
      maxLength: 40
    })
    fc.assert(fc.property(sizes, cuts, (frameSizes, cutSizes) => {
      const frames = frameSizes.map((size, index) => aFrame(size, index + 1))
      const bytes = Buffer.concat(frames)
      const ends = new Set<number>([0])
      frames.reduce((end, frame) => {
        ends.add(end + frame.length)
        return end + frame.length
      }, 0)
      const assembler = FrameAssembler.make()
      const received: Array<Uint8Array> = []
      let receivedBytes = 0
      for (let at = 0, n = 0; at < bytes.length; n++) {
        const chunk = bytes.subarray(at, at + cutSizes[n % cutSizes.length]!)
        at += chunk.length
        for (const run of FrameAssembler.feed(assembler, chunk, rules)!) {
          received.push(run)
          receivedBytes += run.length
          expect(ends.has(receivedBytes)).toBe(true)
        }
        // Nothing whole is held back.
        expect(Math.max(...[...ends].filter((end) => end <= at))).toBe(receivedBytes)
      }
      expect(Buffer.concat(received).equals(bytes)).toBe(true)
      expect(assembler).toEqual(FrameAssembler.make())
    }))
  })

  it("passes whole frames on without a copy", () => {
    const bytes = new Uint8Array(Buffer.concat([aFrame(10), aFrame(20)]))
    expect(FrameAssembler.feed(FrameAssembler.make(), bytes, rules)?.[0]?.buffer).toBe(bytes.buffer)
  })

  it("refuses a frame that is too long when it has seen its length only", () => {
    const header = aFrame(rules.limit).subarray(0, 3)
    expect(FrameAssembler.feed(FrameAssembler.make(), header, rules)).toBeUndefined()
    const assembler = FrameAssembler.make()
    expect(FrameAssembler.feed(assembler, header.subarray(0, 1), rules)).toEqual([])
    expect(FrameAssembler.feed(assembler, header.subarray(1), rules)).toBeUndefined()
  })

  it("refuses a frame that begins otherwise as soon as that is seen", () => {
    expect(FrameAssembler.feed(FrameAssembler.make(), Buffer.from("GET / HTTP/1.1\r\n\r\n"), rules)).toBeUndefined()
    const assembler = FrameAssembler.make()
    expect(FrameAssembler.feed(assembler, new Uint8Array([50]), rules)).toEqual([])
    expect(FrameAssembler.feed(assembler, prefix.subarray(0, 1), rules)).toEqual([])
    expect(FrameAssembler.feed(assembler, new Uint8Array([0]), rules)).toBeUndefined()
  })

  it("refuses an empty frame and a length without end", () => {
    expect(FrameAssembler.feed(FrameAssembler.make(), new Uint8Array([0]), rules)).toBeUndefined()
    expect(FrameAssembler.feed(FrameAssembler.make(), new Uint8Array(5).fill(0xFF), rules)).toBeUndefined()
  })
})
