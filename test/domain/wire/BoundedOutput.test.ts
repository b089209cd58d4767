import * as fc from "fast-check"
import { describe, expect, it } from "vitest"
import * as BoundedOutput from "../../../src/domain/wire/BoundedOutput.ts"

const text = new TextDecoder()
const utf8 = new TextEncoder()

const rendered = (limit: number, pieces: ReadonlyArray<string>): string => {
  const output = BoundedOutput.make(limit)
  for (const piece of pieces) BoundedOutput.write(output, utf8.encode(piece))
  return text.decode(BoundedOutput.render(BoundedOutput.take(output)))
}

const pieces = fc.array(fc.uint8Array({ maxLength: 40 }), { maxLength: 30 })

const joined = (parts: ReadonlyArray<Uint8Array>): Uint8Array => Uint8Array.from(parts.flatMap((part) => [...part]))

describe("BoundedOutput", () => {
  it("keeps everything up to the limit, and beyond it the beginning and the end with the number of bytes between", () => {
    fc.assert(fc.property(pieces, fc.nat(300), (written, limit) => {
      const output = BoundedOutput.make(limit)
      for (const piece of written) BoundedOutput.write(output, piece)
      const all = joined(written)
      expect(BoundedOutput.isEmpty(output)).toBe(all.length === 0)
      const { cut, head, tail } = BoundedOutput.take(output)
      expect(cut).toBe(Math.max(0, all.length - limit))
      expect([...head, ...tail]).toEqual([...all.subarray(0, head.length), ...all.subarray(all.length - tail.length)])
      expect(head.length + cut + tail.length).toBe(all.length)
      expect(BoundedOutput.isEmpty(output)).toBe(true)
    }))
  })

  it("counts what was cut once when outputs are put together", () => {
    fc.assert(fc.property(fc.array(pieces, { maxLength: 6 }), fc.nat(100), fc.nat(200), (parts, inner, outer) => {
      const whole = BoundedOutput.make(outer)
      for (const written of parts) {
        const part = BoundedOutput.make(inner)
        for (const piece of written) BoundedOutput.write(part, piece)
        BoundedOutput.append(whole, BoundedOutput.take(part))
      }
      const all = joined(parts.flat())
      const { cut, head, tail } = BoundedOutput.take(whole)
      expect(head.length + cut + tail.length).toBe(all.length)
      expect([...head]).toEqual([...all.subarray(0, head.length)])
      expect([...tail]).toEqual([...all.subarray(all.length - tail.length)])
      expect(head.length + tail.length).toBeLessThanOrEqual(outer)
    }))
  })

  it("is the same when it is taken part by part, of which none after the whole head has a head of its own", () => {
    fc.assert(fc.property(fc.array(pieces, { maxLength: 6 }), fc.nat(100), (parts, limit) => {
      const [atOnce, byParts, part] = [limit, limit, limit].map(BoundedOutput.make)
      let isWhole = false
      for (const written of parts) {
        for (const piece of written) {
          BoundedOutput.write(atOnce!, piece)
          BoundedOutput.write(part!, piece)
        }
        const kept = BoundedOutput.takePart(part!)
        if (isWhole) expect(kept.head.length).toBe(0)
        isWhole ||= kept.head.length === Math.ceil(limit / 2)
        BoundedOutput.append(byParts!, kept)
      }
      expect(BoundedOutput.take(byParts!)).toEqual(BoundedOutput.take(atOnce!))
    }))
  })

  it("says in a note how much was cut, and cuts no character in two", () => {
    expect(rendered(8, ["ab€€", "x".repeat(100), "€€cd"])).toBe("ab\n... dispy: 112 bytes were cut here ...\ncd")
    expect(rendered(8, ["abcdefgh"])).toBe("abcdefgh")
    expect(rendered(0, ["abc"])).toBe("\n... dispy: 3 bytes were cut here ...\n")
    expect(rendered(10, [])).toBe("")
  })
})
