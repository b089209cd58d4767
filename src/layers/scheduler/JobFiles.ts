/** Files that jobs send, on their way into a directory of the client: whole or not at all, and never outside of it. */
import { Effect } from "effect"
import * as fs from "node:fs"
import type { NodeEvent } from "../../domain/NodeRpcs.ts"
import type { JobRecord } from "../../domain/scheduler/JobRecord.ts"
import { messageOf } from "../../domain/Thrown.ts"
import * as RelativePath from "../../domain/transfer/RelativePath.ts"
import { TransferFailed } from "../../domain/TransferError.ts"
import type { JobFilesRequest, SchedulerRequest } from "../../services/Scheduler.ts"
import * as FileTree from "../files/FileTree.ts"
import * as Partials from "../files/Partials.ts"
import type { ConnectedNode } from "./ConnectedNode.ts"

type Offered = Extract<NodeEvent, { readonly _tag: "JobFile" }>

/** Why the client does not take the file; undefined when it does. */
const refusalOf = ({ path, sizeBytes }: Offered, wanted: JobFilesRequest | undefined): string | undefined => {
  if (wanted === undefined) return "the client takes no files"
  const wrong = RelativePath.problem(path)
  if (wrong !== undefined) return `the client refuses its name: ${wrong}`
  if (wanted.maxFileBytes === 0 || sizeBytes <= wanted.maxFileBytes) return undefined
  return `it has ${sizeBytes} bytes, more than the ${wanted.maxFileBytes} that the client takes; raise its maxFileSize`
}

const fetch = (
  node: ConnectedNode,
  computationId: string,
  job: JobRecord,
  offered: Offered,
  { directory, onFile }: JobFilesRequest
) => {
  const { fileId, mode, modifiedMillis, path, sizeBytes } = offered
  const what = `file ${path}`
  const failed = (error: unknown) => new TransferFailed({ what, node: node.address, reason: messageOf(error) })
  const attempt = <A>(run: () => A) => Effect.try({ try: run, catch: failed })
  return Effect.gen(function*() {
    const partial = yield* Effect.acquireRelease(
      attempt(() => {
        fs.mkdirSync(directory, { recursive: true })
        return Partials.fresh(directory)
      }),
      (file) => Effect.promise(() => fs.promises.rm(file, { force: true }))
    )
    yield* node.transfer.getFile({ computationId, source: { _tag: "JobFile", fileId }, sizeBytes, what }, partial)
    yield* attempt(() => FileTree.place(directory, path, partial, { mode, modifiedMillis }))
    onFile(job, path, sizeBytes)
  }).pipe(Effect.scoped)
}

/** Fetches a file that a job sends and tells the node what became of it. */
export const receive = (
  node: ConnectedNode,
  request: SchedulerRequest,
  job: JobRecord,
  offered: Offered
): Effect.Effect<void> => {
  const { computation, jobFiles } = request
  const refusal = refusalOf(offered, jobFiles)
  const problem = refusal === undefined
    ? fetch(node, computation.id, job, offered, jobFiles!).pipe(
      Effect.as(""),
      Effect.catch((error) =>
        Effect.succeed(`the client could not take it into ${jobFiles!.directory}: ${error.reason}`)
      )
    )
    : Effect.succeed(refusal)
  return problem.pipe(
    Effect.flatMap((said) => node.connection.answerJobFile(node.leaseId, computation.id, offered.fileId, said)),
    // A node that cannot be told is about to be given up.
    Effect.ignore
  )
}
