/**
 * Recovered jobs as JSON. Values that JSON has not become what is nearest: bigints and dates texts, maps lists of pairs,
 * sets lists, bytes base64, what contains itself "[circular]".
 */
import type { JobError } from "../../../domain/JobError.ts"
import type { RecoveredJob } from "../../client/RecoverJobs.ts"

const bytesOf = (view: ArrayBufferView | ArrayBuffer): string =>
  (ArrayBuffer.isView(view)
    ? Buffer.from(view.buffer, view.byteOffset, view.byteLength)
    : Buffer.from(view)).toString("base64")

const plain = (value: unknown, above: ReadonlyArray<object>): unknown => {
  if (typeof value === "bigint") return String(value)
  if (typeof value !== "object" || value === null || value instanceof Date) return value
  if (above.includes(value)) return "[circular]"
  const inside = [...above, value]
  const each = (values: Iterable<unknown>): ReadonlyArray<unknown> => Array.from(values, (one) => plain(one, inside))
  if (Array.isArray(value) || value instanceof Set) return each(value)
  if (value instanceof Map) return each(value)
  if (value instanceof Uint8Array || value instanceof ArrayBuffer || value instanceof DataView) return bytesOf(value)
  if (ArrayBuffer.isView(value)) return each(value as unknown as Iterable<unknown>)
  if (value instanceof Error) return { name: value.name, message: value.message, stack: value.stack }
  return Object.fromEntries(Object.entries(value).map(([name, one]) => [name, plain(one, inside)]))
}

const errorOf = (error: JobError): object => ({
  _tag: error._tag,
  message: error.message,
  ...(error._tag === "JobFailed" ? { errorName: error.errorName, stack: error.userStack } : {}),
  ...("partialResult" in error ? { partialResult: plain(error.partialResult, []) } : {})
})

/** What is printed of a job. */
export const of = (job: RecoveredJob): object => ({
  ...job,
  result: job.result === undefined ? null : plain(job.result, []),
  exception: job.exception === undefined ? null : errorOf(job.exception),
  provisionalResults: plain(job.provisionalResults, [])
})
