/**
 * Files of a computation, or of one of its jobs, on their way to a node: offered, and those put that are not there yet.
 * What was sent and what was not is counted.
 */
import { Effect } from "effect"
import type { Computation, FileEntry, LocalFiles } from "../../domain/Computation.ts"
import { nothingTransferred, type Transferred } from "../../domain/DispyNode.ts"
import { ComputationRefused, type NodeUnreachable, type NotLeased } from "../../domain/NodeError.ts"
import type { GatherFiles } from "../../domain/scheduler/JobRecord.ts"
import type { FileTooLarge, TransferFailed } from "../../domain/TransferError.ts"
import type { SchedulerRequest } from "../../services/Scheduler.ts"
import type { ConnectedNode } from "./ConnectedNode.ts"

/** Puts of small files that are under way at the same time. */
const concurrency = 32

const bytesOf = (entries: ReadonlyArray<FileEntry>): number =>
  entries.reduce((sum, { sizeBytes }) => sum + sizeBytes, 0)

const reasonOf = (error: TransferFailed | FileTooLarge): string =>
  error._tag === "TransferFailed" ? `${error.what} was not transferred: ${error.reason}` : error.message

/** Offers files and puts those that the node has not; gives these. */
const send = Effect.fnUntraced(function*(
  node: ConnectedNode,
  computation: Computation,
  { entries, sources }: LocalFiles,
  jobId?: number
) {
  const put = (index: number) => {
    const { path, sizeBytes } = entries[index]!
    const source = sources[index]!
    return node.transfer.put({
      computationId: computation.id,
      target: { _tag: "Dependency", path, ...(jobId === undefined ? {} : { jobId }) },
      content: typeof source === "string"
        ? { _tag: "File", path: source, sizeBytes }
        : { _tag: "Bytes", bytes: source },
      what: `file ${path}`
    })
  }
  const asked = yield* node.connection.offerFiles(node.leaseId, computation, entries, jobId)
  const missing = asked.filter((index) => entries[index] !== undefined)
  yield* Effect.forEach(missing, put, { concurrency, discard: true })
  return missing.map((index) => entries[index]!)
})

/** Has all files of the computation on the node, ready to be put into their places when it is opened. */
export const deliver = (
  node: ConnectedNode,
  request: SchedulerRequest
): Effect.Effect<Transferred, ComputationRefused | NotLeased | NodeUnreachable> => {
  const { computation, sources = [] } = request
  const entries = computation.depends?.files ?? []
  if (entries.length === 0) return Effect.succeed(nothingTransferred)
  const refused = (error: TransferFailed | FileTooLarge) =>
    new ComputationRefused({ node: node.address, computation: computation.name, reason: reasonOf(error) })
  return send(node, computation, { entries, sources }).pipe(
    Effect.catchTags({
      TransferFailed: (error) => Effect.fail(refused(error)),
      FileTooLarge: (error) => Effect.fail(refused(error))
    }),
    Effect.map((sent) => {
      const bytes = bytesOf(sent)
      return {
        files: sent.length,
        bytes,
        skippedFiles: entries.length - sent.length,
        skippedBytes: bytesOf(entries) - bytes
      }
    })
  )
}

/** Has the files of a job on the node, and then does `dispatch`; when either does not come about, the node forgets them. */
export const withJobFiles = <A, E>(
  node: ConnectedNode,
  computation: Computation,
  jobId: number,
  gather: GatherFiles,
  dispatch: Effect.Effect<A, E>
): Effect.Effect<A, E | Error> =>
  Effect.flatMap(gather, (files) =>
    send(node, computation, files, jobId).pipe(
      Effect.andThen(dispatch),
      Effect.onError(() => Effect.ignore(node.connection.offerFiles(node.leaseId, computation, [], jobId)))
    ))
