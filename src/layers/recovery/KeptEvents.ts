/** Takes what a node tells of a client that is gone: replies, and what is to be fetched for them. */
import { Effect, type Scope } from "effect"
import * as fs from "node:fs"
import * as path from "node:path"
import { NodeUnreachable } from "../../domain/NodeError.ts"
import { maxValueBytes } from "../../domain/NodeInfo.ts"
import type { KeptEvent } from "../../domain/NodeRpcs.ts"
import * as KeptJobs from "../../domain/recovery/KeptJobs.ts"
import * as RecoverFile from "../../domain/recovery/RecoverFile.ts"
import { messageOf } from "../../domain/Thrown.ts"
import * as RelativePath from "../../domain/transfer/RelativePath.ts"
import { TransferFailed } from "../../domain/TransferError.ts"
import * as Entries from "../../domain/wire/Entries.ts"
import type { TransferSession } from "../../services/FileTransfer.ts"
import * as FileTree from "../files/FileTree.ts"
import * as Partials from "../files/Partials.ts"

/** What it works with. */
export interface Environment {
  readonly file: RecoverFile.RecoverFile
  readonly kept: KeptJobs.KeptJobs
  /** Where files go; absolute. */
  readonly directory: string
  /** Files that are here, by node, lease and number: a node that tells them again need not send them again. */
  readonly fetched: Map<string, string>
}

/** Hears what one connection tells. */
export interface Listener {
  /** Jobs that are final now. */
  readonly take: (event: KeptEvent) => Effect.Effect<ReadonlyArray<KeptJobs.KeptJob>, NodeUnreachable, Scope.Scope>
  /** What could not be fetched, in words. */
  readonly problems: ReadonlyArray<string>
  /** Computations of which the node has a lease with all that it ever had under it. */
  readonly computations: ReadonlySet<string>
}

type KeptFile = Extract<KeptEvent, { readonly _tag: "KeptFile" }>

const keepFile = Effect.fnUntraced(function*(
  { directory }: Environment,
  address: string,
  { computationId, fileId, mode, modifiedMillis, path: relative, sizeBytes }: KeptFile,
  session: TransferSession
): Effect.fn.Return<string, TransferFailed, Scope.Scope> {
  const what = `file ${relative}`
  const failed = (error: unknown) => new TransferFailed({ what, node: address, reason: messageOf(error) })
  const attempt = <A>(run: () => A) => Effect.try({ try: run, catch: failed })
  const wrong = RelativePath.problem(relative)
  if (wrong !== undefined) return yield* failed(`its name is refused: ${wrong}`)
  const partial = yield* Effect.acquireRelease(
    attempt(() => {
      fs.mkdirSync(directory, { recursive: true })
      return Partials.fresh(directory)
    }),
    (file) => Effect.promise(() => fs.promises.rm(file, { force: true }))
  )
  yield* session.getFile({ computationId, source: { _tag: "JobFile", fileId }, sizeBytes, what }, partial)
  yield* attempt(() => FileTree.place(directory, relative, partial, { mode, modifiedMillis }))
  return path.join(directory, relative)
})

const fetchResult = (
  session: TransferSession,
  address: string,
  computationId: string,
  { attempt, jobId, ...reply }: Entries.ReplyFields
): Effect.Effect<Entries.ReplyFields, TransferFailed> => {
  const sizeBytes = Entries.largeResultBytes(reply)
  const what = `the result of job ${jobId}`
  if (!Number.isSafeInteger(sizeBytes) || sizeBytes < 0 || sizeBytes > maxValueBytes) {
    return Effect.fail(new TransferFailed({ what, node: address, reason: `it has ${sizeBytes} bytes` }))
  }
  return Effect.map(
    session.getBytes({ computationId, source: { _tag: "Result", jobId, attempt }, sizeBytes, what }),
    (result) => ({ ...reply, jobId, attempt, flags: reply.flags & ~Entries.ReplyFlags.largeResult, result })
  )
}

/** Hears what a connection to a node tells; `open` makes transfers under a lease. */
export const listener = (
  env: Environment,
  address: string,
  open: (leaseId: string) => Effect.Effect<TransferSession, never, Scope.Scope>
): Listener => {
  const { kept } = env
  const sessions = new Map<string, TransferSession>()
  const problems: Array<string> = []
  const computations = new Set<string>()
  /** Jobs that a recovery ran are those of the computation that it went on with. */
  const ownerOf = (computationId: string): string => RecoverFile.originalOf(env.file, computationId)
  /** Jobs that are not complete without what could not be fetched. */
  const incomplete = new Set<string>()

  const sessionOf = (leaseId: string): Effect.Effect<TransferSession, never, Scope.Scope> =>
    Effect.suspend(() => {
      const known = sessions.get(leaseId)
      return known !== undefined
        ? Effect.succeed(known)
        : Effect.tap(open(leaseId), (session) => Effect.sync(() => sessions.set(leaseId, session)))
    })

  /** What fails is told at the end: the others are fetched first. */
  const tolerate = <A>(effect: Effect.Effect<A, TransferFailed, Scope.Scope>) =>
    effect.pipe(Effect.catch((error) =>
      Effect.sync(() => {
        problems.push(`${error.what}: ${error.reason}`)
        return undefined
      })
    ))

  const replies = Effect.fnUntraced(function*(leaseId: string, computationId: string, batch: Uint8Array) {
    if (Entries.countReplies(batch) < 0) {
      return yield* new NodeUnreachable({ address, reason: "it sent malformed replies" })
    }
    const view = Entries.viewOf(batch)
    const final: Array<KeptJobs.KeptJob> = []
    const owner = ownerOf(computationId)
    for (let offset = 0; offset < batch.length; offset += Entries.entrySize(view, offset)) {
      const told = Entries.readReply(batch, view, offset)
      if (!KeptJobs.isWanted(kept, owner, told.jobId)) continue
      if (incomplete.has(`${told.jobId} ${owner}`)) continue
      const reply = (told.flags & Entries.ReplyFlags.largeResult) === 0
        ? told
        : yield* tolerate(
          Effect.flatMap(sessionOf(leaseId), (session) => fetchResult(session, address, computationId, told))
        )
      const job = reply === undefined ? undefined : KeptJobs.replied(kept, address, owner, reply)
      if (job !== undefined) final.push(job)
    }
    return final
  })

  const file = Effect.fnUntraced(function*(event: KeptFile) {
    const { computationId, fileId, jobId, leaseId } = event
    const owner = ownerOf(computationId)
    if (!KeptJobs.isWanted(kept, owner, jobId)) return
    const key = `${address} ${leaseId} ${computationId} ${fileId}`
    const place = env.fetched.get(key) ?? (yield* tolerate(
      Effect.scoped(Effect.flatMap(sessionOf(leaseId), (session) => keepFile(env, address, event, session)))
    ))
    if (place === undefined) {
      incomplete.add(`${jobId} ${owner}`)
      return
    }
    env.fetched.set(key, place)
    KeptJobs.received(kept, address, owner, jobId, place)
  })

  const take: Listener["take"] = (event) => {
    switch (event._tag) {
      case "KeptLease":
        return Effect.sync(() => {
          for (const { computationId, unreplied } of event.computations) {
            computations.add(ownerOf(computationId))
            KeptJobs.unreplied(kept, address, ownerOf(computationId), unreplied)
          }
          return []
        })
      case "KeptReplies":
        return replies(event.leaseId, event.computationId, event.batch)
      case "KeptFile":
        return Effect.as(file(event), [])
      case "KeptLost":
        return Effect.sync(() => KeptJobs.lost(kept, address, ownerOf(event.computationId), event.jobIds, event.reason))
    }
  }
  return { take, problems, computations }
}
