/**
 * Files of a computation on their way to a node: offered, and those put that are
 * not there yet. What was sent and what was not is counted.
 */
import { Effect } from "effect"
import type { FileEntry } from "../../domain/Computation.ts"
import { nothingTransferred, type Transferred } from "../../domain/DispyNode.ts"
import { ComputationRefused, type NodeUnreachable, type NotLeased } from "../../domain/NodeError.ts"
import type { FileTooLarge, TransferFailed } from "../../domain/TransferError.ts"
import type { SchedulerRequest } from "../../services/Scheduler.ts"
import type { ConnectedNode } from "./ConnectedNode.ts"

/** Puts of small files that are under way at the same time. */
const concurrency = 32

const bytesOf = (entries: ReadonlyArray<FileEntry>): number =>
  entries.reduce((sum, { sizeBytes }) => sum + sizeBytes, 0)

const reasonOf = (error: TransferFailed | FileTooLarge): string =>
  error._tag === "TransferFailed" ? `${error.what} was not transferred: ${error.reason}` : error.message

/** Has all files of the computation on the node, ready to be put into their places when it is opened. */
export const deliver = (
  node: ConnectedNode,
  request: SchedulerRequest
): Effect.Effect<Transferred, ComputationRefused | NotLeased | NodeUnreachable> => {
  const { computation, sources = [] } = request
  const entries = computation.depends?.files ?? []
  if (entries.length === 0) return Effect.succeed(nothingTransferred)
  const put = (index: number) => {
    const { path, sizeBytes } = entries[index]!
    return node.transfer.put({
      computationId: computation.id,
      target: { _tag: "Dependency", path },
      content: { _tag: "File", path: sources[index]!, sizeBytes },
      what: `file ${path}`
    })
  }
  return Effect.gen(function*() {
    const missing = yield* node.connection.offerFiles(node.leaseId, computation, entries)
    yield* Effect.forEach(missing.filter((index) => entries[index] !== undefined), put, { concurrency, discard: true })
      .pipe(
        Effect.mapError((error) =>
          new ComputationRefused({ node: node.address, computation: computation.name, reason: reasonOf(error) })
        )
      )
    const sent = missing.map((index) => entries[index]!)
    const bytes = bytesOf(sent)
    return {
      files: sent.length,
      bytes,
      skippedFiles: entries.length - sent.length,
      skippedBytes: bytesOf(entries) - bytes
    }
  })
}
