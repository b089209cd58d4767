/** Files of records: whatever happens to them, what is read was written, and what is missing is told. */
import * as fc from "fast-check"
import * as zlib from "node:zlib"
import { describe, expect, it } from "vitest"
import { crc32 } from "../../../src/domain/journal/Crc32.ts"
import * as Records from "../../../src/domain/journal/Records.ts"

const record = fc.record({
  kind: fc.integer({ min: 0, max: 255 }),
  // With the first letters of the mark, which may stand anywhere in a payload.
  payload: fc.oneof(fc.uint8Array({ maxLength: 40 }), fc.constant(new TextEncoder().encode("dspy dsp ds d dspydspy")))
})

const fileOf = (records: ReadonlyArray<Records.JournalRecord>): Uint8Array =>
  new Uint8Array(Buffer.concat(records.map(Records.encode)))

const plain = (records: ReadonlyArray<Records.JournalRecord>) =>
  records.map(({ kind, payload }) => [kind, Buffer.from(payload).toString("hex")])

describe("CRC-32", () => {
  it("is that of zlib, in one go and in parts", () => {
    fc.assert(fc.property(fc.uint8Array(), fc.uint8Array(), (a, b) => {
      expect(crc32(b, crc32(a))).toBe(zlib.crc32(Buffer.concat([a, b])))
    }))
  })
})

describe("Records", () => {
  it("reads what was written", () => {
    fc.assert(fc.property(fc.array(record), (records) => {
      const contents = Records.read(fileOf(records))
      expect(plain(contents.records)).toEqual(plain(records))
      expect(contents).toMatchObject({ tornBytes: 0, damaged: [] })
    }))
  })

  it("loses only the record that a file was cut in, at every byte, and says so", () => {
    fc.assert(fc.property(fc.array(record, { minLength: 1, maxLength: 4 }), (records) => {
      const file = fileOf(records)
      const ends = records.map((_, i) => fileOf(records.slice(0, i + 1)).length)
      for (let length = 0; length < file.length; length++) {
        const contents = Records.read(file.subarray(0, length))
        const whole = ends.filter((end) => end <= length)
        expect(plain(contents.records)).toEqual(plain(records.slice(0, whole.length)))
        expect(contents.tornBytes + contents.damaged.reduce((sum, { from, to }) => sum + to - from, 0))
          .toBe(length - (whole.at(-1) ?? 0))
      }
    }))
  })

  it("reads a file in parts as it does in one, and waits for the rest of a record that may still come", () => {
    fc.assert(fc.property(fc.array(record), fc.array(fc.nat({ max: 60 })), (records, cuts) => {
      const file = fileOf(records)
      const found: Array<Records.JournalRecord> = []
      let offset = 0
      let end = 0
      for (const more of [...cuts, file.length]) {
        end = Math.min(file.length, end + more)
        const portion = Records.readSome(file.subarray(offset, end), false)
        expect(portion.damaged).toEqual([])
        found.push(...portion.records)
        offset += portion.used
      }
      expect(offset).toBe(file.length)
      expect(plain(found)).toEqual(plain(records))
    }))
  })

  it("finds every flipped bit, and all records that it did not touch", () => {
    const flip = fc.record({ place: fc.nat(), bit: fc.integer({ min: 0, max: 7 }) })
    fc.assert(
      fc.property(fc.array(record, { minLength: 1, maxLength: 6 }), flip, (records, { bit, place }) => {
        const file = fileOf(records)
        const offset = place % file.length
        file[offset]! ^= 1 << bit
        const hit = records.findIndex((_, i) => fileOf(records.slice(0, i + 1)).length > offset)
        const contents = Records.read(file)
        expect(plain(contents.records)).toEqual(plain(records.toSpliced(hit, 1)))
        expect(contents.tornBytes > 0 || contents.damaged.length > 0).toBe(true)
      }),
      { numRuns: 1000 }
    )
  })
})
