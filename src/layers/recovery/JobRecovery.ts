/**
 * Asks the nodes of a recover file for what is left there, all at the same time, and each until it has told everything.
 * What comes is handed over in batches; when the user has a batch, the nodes that have nothing more are told to forget.
 *
 * ```
 * asking ──▶ told all, nothing runs ──▶ handed over ──▶ forgotten
 *   ▲ └────▶ no answer, in use, a transfer failed: asked again from the beginning
 *   └────────┘
 * ```
 */
import { type Cause, Duration, Effect, Queue, type Scope, Stream } from "effect"
import type { NothingKept, VersionMismatch } from "../../domain/NodeError.ts"
import { NodeUnreachable } from "../../domain/NodeError.ts"
import type { Unfinished } from "../../domain/RecoverError.ts"
import { describeUnfinished } from "../../domain/RecoverError.ts"
import * as KeptJobs from "../../domain/recovery/KeptJobs.ts"
import * as RecoverFile from "../../domain/recovery/RecoverFile.ts"
import { FileTransfer } from "../../services/FileTransfer.ts"
import { NodeLink } from "../../services/NodeLink.ts"
import * as KeptEvents from "./KeptEvents.ts"
import * as RecoverFileDisk from "./RecoverFileDisk.ts"

/** How to recover. */
export interface RecoveryOptions {
  /** How long to wait for jobs and nodes; 0 for as long as it takes. */
  readonly timeoutMillis: number
  /** End the jobs that still run: at once, or when the timeout is over. */
  readonly terminatePending: boolean
  /** Where files go that jobs sent; absolute. */
  readonly directory: string
}

/** A recovery that is under way. */
export interface JobRecovery {
  readonly file: RecoverFile.RecoverFile
  /** What came since the last time, as soon as there is something; done when nothing more comes. */
  readonly next: Effect.Effect<ReadonlyArray<KeptJobs.Settled>, Cause.Done>
  /** The user has these: nobody gets them again, and nodes that have nothing else forget all. */
  readonly handOver: (batches: ReadonlyArray<KeptJobs.Settled>) => Effect.Effect<void>
  /** Nodes that are not done. */
  readonly unfinished: () => ReadonlyArray<Unfinished>
  /** Removes the file if all nodes are done. */
  readonly end: Effect.Effect<void>
}

/** Time between tries with a node. */
const retryInterval = Duration.seconds(1)

/** When is said what is waited for, and how often after that. */
const [firstNotice, nextNotices] = [Duration.seconds(5), Duration.minutes(1)]

/** How long jobs that are ended after the timeout may take to tell. */
const endMillis = 15_000

/** How long a node may take to be told that it may forget. */
const forgetTimeout = Duration.seconds(10)

/** How often everything is asked for again where a transfer fails. */
const maxRounds = 3

/** Nodes that are asked. */
type Self = KeptEvents.Environment & {
  readonly queue: Queue.Queue<KeptJobs.Settled, Cause.Done>
  readonly link: NodeLink["Service"]
  readonly transfer: FileTransfer["Service"]
  /** Why a node is not done, if not because of jobs that run. */
  readonly reasons: Map<string, string>
}

const offer = (self: Self, settled: KeptJobs.Settled): void => {
  if (settled.jobs.length + settled.nodes.length > 0) Queue.offerUnsafe(self.queue, settled)
}

/** One try, from dialling to the end of what the node tells; what could not be fetched. */
const tryOnce = Effect.fnUntraced(function*(
  self: Self,
  node: RecoverFile.Node,
  isTerminating: boolean
): Effect.fn.Return<ReadonlyArray<string>, NodeUnreachable | NothingKept | VersionMismatch, Scope.Scope> {
  const address = RecoverFile.addressOf(node)
  const connection = yield* self.link.connect(RecoverFile.target(node))
  self.reasons.delete(address)
  KeptJobs.begin(self.kept, address)
  const listener = KeptEvents.listener(
    self,
    address,
    (leaseId) => self.transfer.open(RecoverFile.target(node), leaseId)
  )
  yield* Stream.runForEach(
    connection.recover(self.recoverKey, isTerminating),
    (event) => Effect.map(listener.take(event), (jobs) => offer(self, { jobs, nodes: [] }))
  )
  return listener.problems
})

/** Asks a node until it has told everything, or no more is to be had of it now. */
const ask = Effect.fnUntraced(function*(self: Self, address: string, isTerminating: boolean) {
  const node = self.file.nodes.get(address)!
  for (let round = 1; round <= maxRounds;) {
    const tried = yield* Effect.result(Effect.scoped(tryOnce(self, node, isTerminating)))
    if (tried._tag === "Success") {
      if (tried.success.length === 0) return offer(self, KeptJobs.ended(self.kept, address))
      self.reasons.set(address, tried.success.join("; "))
      round++
    } else {
      const { failure } = tried
      if (failure._tag === "NothingKept" && failure.isInUse !== true) {
        yield* Effect.logDebug(failure.message)
        KeptJobs.begin(self.kept, address)
        return offer(self, KeptJobs.ended(self.kept, address))
      }
      self.reasons.set(address, failure._tag === "VersionMismatch" ? failure.message : failure.reason)
    }
    if (round <= maxRounds) yield* Effect.sleep(retryInterval)
  }
})

const askAll = (self: Self, isTerminating: boolean, timeoutMillis: number): Effect.Effect<unknown> => {
  const all = Effect.suspend(() =>
    Effect.forEach(KeptJobs.open(self.kept), (address) => ask(self, address, isTerminating), {
      concurrency: "unbounded",
      discard: true
    })
  )
  return timeoutMillis === 0 ? all : Effect.timeoutOption(all, timeoutMillis)
}

const unfinishedOf = (self: Self): ReadonlyArray<Unfinished> =>
  KeptJobs.open(self.kept).map((node) => {
    const running = KeptJobs.running(self.kept, node)
    const jobs = running === 0
      ? "it has not told everything"
      : `${running} ${running === 1 ? "job has" : "jobs have"} not ended`
    return { node, reason: self.reasons.get(node) ?? jobs, running }
  })

/** Says what is waited for: a program must not just hang. */
const notice = (self: Self): Effect.Effect<never> =>
  Effect.suspend(() => {
    const unfinished = unfinishedOf(self)
    return unfinished.length === 0
      ? Effect.void
      : Effect.logWarning(`still recovering from ${describeUnfinished(unfinished)}`)
  }).pipe(Effect.delay(firstNotice), Effect.andThen(Effect.sleep(nextNotices)), Effect.forever)

const forget = (self: Self, address: string): Effect.Effect<boolean> =>
  self.link.connect(RecoverFile.target(self.file.nodes.get(address)!)).pipe(
    Effect.flatMap((connection) => connection.forget(self.recoverKey)),
    Effect.scoped,
    Effect.as(true),
    // It has forgotten already: its reply to an earlier request was lost, or it had nothing.
    Effect.catchTag("NothingKept", ({ isInUse }) => Effect.succeed(isInUse !== true)),
    Effect.timeoutOrElse({
      duration: forgetTimeout,
      orElse: () => Effect.fail(new NodeUnreachable({ address, reason: "no answer in time" }))
    }),
    Effect.catch((error) =>
      Effect.as(
        Effect.logWarning(`node ${address} could not be told that its results are here: ${error.message}`),
        false
      )
    )
  )

const handedOver = (jobs: ReadonlyArray<KeptJobs.KeptJob>): ReadonlyArray<RecoverFile.Entry> =>
  [...Map.groupBy(jobs, ({ computationId }) => computationId)].map(([computationId, group]) => ({
    _tag: "HandedOver",
    computationId,
    jobs: group.map(({ number }) => number)
  }))

/** Begins to recover; ends with the scope. */
export const start = Effect.fnUntraced(function*(
  path: string,
  file: RecoverFile.RecoverFile,
  { directory, terminatePending, timeoutMillis }: RecoveryOptions
): Effect.fn.Return<JobRecovery, never, NodeLink | FileTransfer | Scope.Scope> {
  const self: Self = {
    file,
    kept: KeptJobs.make(file),
    recoverKey: file.header.recoverKey,
    directory,
    fetched: new Map(),
    queue: yield* Queue.unbounded<KeptJobs.Settled, Cause.Done>(),
    link: yield* NodeLink,
    transfer: yield* FileTransfer,
    reasons: new Map([...file.nodes.keys()].map((address) => [address, "it has not answered yet"]))
  }
  for (const problem of file.problems) yield* Effect.logWarning(`recover file ${path}: ${problem}`)
  const isWaitingFirst = timeoutMillis > 0 && terminatePending
  yield* askAll(self, terminatePending && !isWaitingFirst, timeoutMillis).pipe(
    Effect.andThen(isWaitingFirst ? askAll(self, true, endMillis) : Effect.void),
    Effect.andThen(Effect.sync(() => {
      offer(self, KeptJobs.giveUp(self.kept))
      Queue.endUnsafe(self.queue)
    })),
    Effect.raceFirst(notice(self)),
    Effect.forkScoped
  )
  const done = new Set<string>()
  const handOver: JobRecovery["handOver"] = Effect.fnUntraced(function*(batches) {
    const entries = handedOver(batches.flatMap(({ jobs }) => jobs))
    if (entries.length > 0) yield* RecoverFileDisk.append(path, entries)
    const nodes = new Set(batches.flatMap((batch) => batch.nodes)).difference(done)
    yield* Effect.forEach(
      nodes,
      (address) => Effect.map(forget(self, address), (isForgotten) => isForgotten ? done.add(address) : undefined),
      { concurrency: "unbounded", discard: true }
    )
    const gone = [...nodes].filter((address) => done.has(address))
    if (gone.length === 0) return
    yield* RecoverFileDisk.append(
      path,
      gone.map((address) => {
        const { host, port } = file.nodes.get(address)!
        return { _tag: "Done", host, port }
      })
    )
  })
  return {
    file,
    next: Queue.takeAll(self.queue),
    handOver,
    unfinished: () => unfinishedOf(self),
    end: Effect.suspend(() => done.size === file.nodes.size ? RecoverFileDisk.remove(path) : Effect.void)
  }
})
