/** Recover files: what was written is read, and what a crash or a disk took from them costs that and no more. */
import { Result } from "effect"
import * as fc from "fast-check"
import { describe, expect, it } from "vitest"
import * as NumberRanges from "../../../src/domain/recovery/NumberRanges.ts"
import * as RecoverFile from "../../../src/domain/recovery/RecoverFile.ts"

const text = fc.string({ unit: "grapheme", maxLength: 20 })

const header: fc.Arbitrary<RecoverFile.Header> = fc.record({
  _tag: fc.constant("Header" as const),
  version: fc.constant(RecoverFile.version),
  recoverKey: text,
  client: text,
  host: text,
  process: text,
  createdMillis: fc.nat(),
  credentials: fc.record({ secretFile: text, certfile: text, keyfile: text, cafile: text }, { requiredKeys: [] })
})

const place = { host: fc.constantFrom("alpha", "::1", "10.0.0.7"), port: fc.integer({ min: 1, max: 3 }) }

const entry: fc.Arbitrary<RecoverFile.Entry> = fc.oneof(
  fc.record({ _tag: fc.constant("Node" as const), ...place, name: text }),
  fc.record({ _tag: fc.constant("Computation" as const), id: text, name: text, mayRunTwice: fc.boolean() }),
  fc.record({
    _tag: fc.constant("HandedOver" as const),
    computationId: fc.constantFrom("a", "b"),
    jobs: fc.array(fc.nat(), { maxLength: 5 })
  }),
  fc.record({ _tag: fc.constant("Done" as const), ...place })
)

const fileOf = (entries: ReadonlyArray<RecoverFile.Entry>): Uint8Array =>
  new Uint8Array(Buffer.concat(entries.map(RecoverFile.encode)))

/** What these entries mean, said once more. */
const meaningOf = (head: RecoverFile.Header, entries: ReadonlyArray<RecoverFile.Entry>) => {
  const done = new Map<string, RecoverFile.Node>()
  for (const one of entries) {
    if (one._tag === "Node") done.set(RecoverFile.addressOf(one), one)
    if (one._tag === "Done") done.delete(RecoverFile.addressOf(one))
  }
  const jobsOf = (id: string) =>
    entries.flatMap((one) => one._tag === "HandedOver" && one.computationId === id ? one.jobs : [])
  const ids = new Set(entries.flatMap((one) => one._tag === "HandedOver" ? [one.computationId] : []))
  return {
    header: head,
    nodes: done,
    computations: new Map(entries.flatMap((one) => one._tag === "Computation" ? [[one.id, one]] : [])),
    handedOver: new Map([...ids].map((id) => [id, NumberRanges.from(jobsOf(id))]))
  }
}

describe("RecoverFile", () => {
  it("reads what was written", () => {
    fc.assert(fc.property(header, fc.array(entry, { maxLength: 8 }), (head, entries) => {
      const read = Result.getOrThrow(RecoverFile.read(fileOf([head, ...entries])))
      expect(read).toMatchObject({ ...meaningOf(head, entries), problems: [] })
    }))
  })

  it("loses only the entry that its writer was killed in, and says so", () => {
    fc.assert(fc.property(header, fc.array(entry, { maxLength: 4 }), entry, fc.nat(), (head, entries, last, cut) => {
      const whole = fileOf([head, ...entries])
      const end = RecoverFile.encode(last)
      const torn = Buffer.concat([whole, end.subarray(0, 1 + cut % (end.length - 1))])
      const read = Result.getOrThrow(RecoverFile.read(torn))
      expect(read).toMatchObject(meaningOf(head, entries))
      expect(read.problems).toHaveLength(1)
    }))
  })

  it("goes on after a torn entry that another was appended to, and after a damaged one", () => {
    const parts = fc.tuple(fc.array(entry, { maxLength: 3 }), entry, fc.array(entry, { maxLength: 3 }), fc.nat())
    fc.assert(fc.property(header, parts, fc.boolean(), (head, [before, hit, after, at], isTorn) => {
      const bytes = RecoverFile.encode(hit)
      const wounded = isTorn ? bytes.subarray(0, 1 + at % (bytes.length - 1)) : bytes.with(at % bytes.length, 0xff)
      fc.pre(isTorn || bytes[at % bytes.length] !== 0xff)
      const read = Result.getOrThrow(
        RecoverFile.read(Buffer.concat([fileOf([head, ...before]), wounded, fileOf(after)]))
      )
      expect(read).toMatchObject(meaningOf(head, [...before, ...after]))
      expect(read.problems).toHaveLength(1)
    }))
  })

  it("says of anything else why it is of no use, and never throws", () => {
    const failure = (bytes: Uint8Array) => Result.getOrThrow(Result.flip(RecoverFile.read(bytes)))
    expect(failure(new Uint8Array(0))).toBe("it is empty: its program died before it had a node")
    expect(failure(Buffer.from("# a text\n"))).toContain("not a recover file")
    const [head] = fc.sample(header, 1)
    expect(failure(fileOf([{ ...head!, version: 2 }]))).toContain("layout 2, this one reads 1")
    expect(failure(fileOf([{ _tag: "Done", host: "a", port: 1 }]))).toContain("without which no node gives anything")
    fc.assert(fc.property(fc.uint8Array(), (bytes) => Result.isFailure(RecoverFile.read(bytes))))
  })
})
