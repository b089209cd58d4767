/** Durable recover files in memory, in short words. */
import * as fc from "fast-check"
import * as RecordWriter from "../../src/domain/journal/RecordWriter.ts"
import * as JobEntries from "../../src/domain/recovery/JobEntries.ts"
import * as RecoverFile from "../../src/domain/recovery/RecoverFile.ts"
import * as Entries from "../../src/domain/wire/Entries.ts"
import { replyOf } from "./KeptNodes.ts"

/** Something that is written of jobs of the computation "c". */
export type Step =
  | { readonly _tag: "Job"; readonly number: number; readonly id: number | undefined; readonly args: Uint8Array }
  | { readonly _tag: "Sent"; readonly numbers: ReadonlyArray<number>; readonly node: string }
  | { readonly _tag: "Returned"; readonly numbers: ReadonlyArray<number> }
  | { readonly _tag: "Replies"; readonly numbers: ReadonlyArray<number>; readonly node: string }
  | { readonly _tag: "Noted"; readonly numbers: ReadonlyArray<number> }

const number = fc.integer({ min: 1, max: 12 })
const numbers = fc.uniqueArray(number, { maxLength: 4 })
const node = fc.constantFrom("a:1", "b:1")

/** Any of these. */
export const step: fc.Arbitrary<Step> = fc.oneof(
  {
    weight: 3,
    arbitrary: fc.record({
      _tag: fc.constant("Job" as const),
      number,
      id: fc.option(fc.nat(), { nil: undefined }),
      args: fc.uint8Array({ maxLength: 40 })
    })
  },
  fc.record({ _tag: fc.constant("Sent" as const), numbers, node }),
  fc.record({ _tag: fc.constant("Returned" as const), numbers }),
  fc.record({ _tag: fc.constant("Replies" as const), numbers, node }),
  fc.record({ _tag: fc.constant("Noted" as const), numbers })
)

const index = 1

/** The records of these steps, one after another. */
export const recordsOf = (steps: ReadonlyArray<Step>): ReadonlyArray<Uint8Array> =>
  steps.map((one) => {
    const writer = RecordWriter.make(16)
    switch (one._tag) {
      case "Job": {
        const details = one.id === undefined ? undefined : { id: Buffer.from([one.id % 256]).toString("base64") }
        JobEntries.writeJob(writer, index, { ...one, flags: 1, timeoutMillis: 5, details })
        break
      }
      case "Sent":
        JobEntries.writeSent(writer, index, { node: one.node, millis: 7 }, one.numbers)
        break
      case "Returned":
        JobEntries.writeReturned(writer, index, one.numbers)
        break
      case "Replies": {
        const batch = Entries.encodeReplies(one.numbers.map((job) => replyOf(job, `of ${one.node}`)))
        JobEntries.writeReplies(writer, index, one.node, batch)
        break
      }
      case "Noted":
        JobEntries.writeNoted(writer, index, one.numbers)
        break
    }
    return RecordWriter.written(writer).slice()
  })

/** The beginning of a file with the computation "c". */
export const beginning: ReadonlyArray<Uint8Array> = [
  {
    _tag: "Header" as const,
    version: RecoverFile.version,
    recoverKey: "key",
    client: "me@here, process 1",
    host: "elsewhere",
    process: "1-1",
    createdMillis: 0,
    credentials: {}
  },
  { _tag: "Computation" as const, id: "c", name: "compute", mayRunTwice: false, index },
  { _tag: "Node" as const, host: "a", port: 1, name: "node a" }
].map(RecoverFile.encode)

/** A file of these records. */
export const fileOf = (records: ReadonlyArray<Uint8Array>): Uint8Array =>
  new Uint8Array(Buffer.concat([...beginning, ...records]))

/** What a file says of jobs, to be compared. */
export const meaningOf = ({ queues }: RecoverFile.RecoverFile) => {
  const queue = queues.get("c")
  return {
    noted: queue?.noted.bounds ?? [],
    jobs: [...queue?.jobs.values() ?? []].map((job) => ({
      ...job,
      args: [...job.args],
      replies: job.replies.map(({ node: from, reply }) => ({ from, reply: [...Entries.encodeReply(reply)] }))
    })).toSorted((a, b) => a.number - b.number)
  }
}
