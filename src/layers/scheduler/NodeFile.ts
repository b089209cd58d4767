/** Sends a file of this machine to a node while a cluster runs: what `cluster.sendFile` does. */
import { Effect } from "effect"
import * as fs from "node:fs/promises"
import * as path from "node:path"
import * as RelativePath from "../../domain/transfer/RelativePath.ts"
import { FileTooLarge, TransferFailed } from "../../domain/TransferError.ts"
import type { NodeFileRequest } from "../../services/Scheduler.ts"
import type { Member } from "./Member.ts"

const reasonOf = (error: unknown): string => {
  const { code, message } = error as NodeJS.ErrnoException
  if (code === "ENOENT" || code === "ENOTDIR") return "there is no such file"
  if (code === "EACCES") return "this user may not read it"
  return message
}

/** Sends the file; it is in the working directory of the computation when this succeeds. */
export const send = Effect.fnUntraced(function*(
  member: Member | undefined,
  computationId: string,
  { address, file, maxFileBytes, onProgress }: NodeFileRequest
): Effect.fn.Return<void, TransferFailed | FileTooLarge> {
  const failed = (reason: string) => new TransferFailed({ what: `file ${file}`, node: address, reason })
  const node = member?.node
  if (node === undefined) return yield* failed("the node was lost")
  const source = path.resolve(file)
  const stats = yield* Effect.tryPromise({ try: () => fs.stat(source), catch: (error) => failed(reasonOf(error)) })
  if (!stats.isFile()) return yield* failed("it is not a file")
  const name = path.basename(source)
  const wrong = RelativePath.problem(name)
  if (wrong !== undefined) return yield* failed(`nodes refuse its name: ${wrong}`)
  const sizeBytes = stats.size
  const tooLarge = (limitBytes: number, limitOf: string) => new FileTooLarge({ file, sizeBytes, limitBytes, limitOf })
  if (maxFileBytes > 0 && sizeBytes > maxFileBytes) {
    return yield* tooLarge(maxFileBytes, "this cluster")
  }
  yield* node.transfer.put({
    computationId,
    target: { _tag: "File", path: name, mode: stats.mode & 0o777, modifiedMillis: stats.mtimeMs },
    content: { _tag: "File", path: source, sizeBytes },
    what: `file ${file}`,
    onProgress: onProgress === undefined ? undefined : (sentBytes) => onProgress(sentBytes, sizeBytes)
  }).pipe(Effect.mapError((error) => error._tag === "FileTooLarge" ? tooLarge(error.limitBytes, error.limitOf) : error))
  onProgress?.(sizeBytes, sizeBytes)
})
