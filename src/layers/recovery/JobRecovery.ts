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
import { type Cause, Clock, Duration, Effect, Queue, type Scope, Stream } from "effect"
import type { NothingKept, VersionMismatch } from "../../domain/NodeError.ts"
import { NodeUnreachable } from "../../domain/NodeError.ts"
import type { Unfinished } from "../../domain/RecoverError.ts"
import { describeUnfinished } from "../../domain/RecoverError.ts"
import * as KeptJobs from "../../domain/recovery/KeptJobs.ts"
import * as RecoverFile from "../../domain/recovery/RecoverFile.ts"
import * as RestJobs from "../../domain/recovery/RestJobs.ts"
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

/** Runs jobs that the program did not get to run. */
export interface Runner {
  /** Runs a job, now or as soon as a node takes it. */
  readonly run: (job: RestJobs.RestJob) => void
  /** Succeeds when all jobs have been told of. */
  readonly idle: Effect.Effect<void>
  /** Sends no more jobs: those are told as left. Ends those that run too, or waits for them. */
  readonly stop: (isTerminating: boolean) => void
  /** Why jobs do not run, in sentences. */
  readonly problems: () => ReadonlyArray<string>
}

/** What a runner tells. */
export interface RunnerListener {
  readonly ended: (job: KeptJobs.KeptJob) => void
  /** The job was not sent to any node. */
  readonly left: (job: RestJobs.RestJob) => void
}

/** What may write and run. */
export interface Means {
  /** Notes entries in the recover file. */
  readonly append: (entries: ReadonlyArray<RecoverFile.Entry>) => Effect.Effect<void>
  /** Makes what runs jobs; undefined where none are to be run. */
  readonly runner: ((listener: RunnerListener) => Effect.Effect<Runner, never, Scope.Scope>) | undefined
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
  readonly rest: RestJobs.RestJobs
  /** Undefined where nothing is run: what is left stays in the file, or ends if it is to be ended. */
  readonly runner: Runner | undefined
  readonly isEnding: boolean
}

const offer = (self: Self, settled: KeptJobs.Settled): void => {
  if (settled.jobs.length + settled.nodes.length > 0) Queue.offerUnsafe(self.queue, settled)
}

/** The outcome of a job that is ended before it ran. */
const cancelled = ({ computationId, job }: RestJobs.RestJob): KeptJobs.KeptJob => ({
  ...RestJobs.lostJob(computationId, job, ""),
  node: "",
  reply: RestJobs.cancelledReply({ number: job.number, attempt: 0 })
})

const runAll = (self: Self, jobs: ReadonlyArray<RestJobs.RestJob>): void => {
  if (self.isEnding) return offer(self, { jobs: jobs.map(cancelled), nodes: [] })
  for (const job of jobs) {
    if (self.runner === undefined) RestJobs.reopen(self.rest, job)
    else self.runner.run(job)
  }
}

/** What became of jobs by what nodes told. */
const settle = (self: Self, { jobs, nodes }: KeptJobs.Settled): void => {
  const { handed, run } = RestJobs.sift(self.rest, jobs)
  runAll(self, run)
  offer(self, { jobs: handed, nodes })
}

/** What is known of jobs that no node told of. */
const decide = (self: Self, isOver: boolean): void => {
  const { lost, run } = RestJobs.decide(self.rest, isOver)
  runAll(self, run)
  offer(self, { jobs: lost, nodes: [] })
}

/** A node has told everything. */
const ended = (self: Self, name: string, computations: ReadonlySet<string>): void => {
  self.rest.told.set(name, computations)
  settle(self, KeptJobs.ended(self.kept, name))
  decide(self, false)
}

/** One try, from dialling to the end of what the node tells; what could not be fetched. */
const tryOnce = Effect.fnUntraced(function*(
  self: Self,
  node: RecoverFile.Node,
  isTerminating: boolean
): Effect.fn.Return<KeptEvents.Listener, NodeUnreachable | NothingKept | VersionMismatch, Scope.Scope> {
  const address = RecoverFile.nameOf(node)
  const connection = yield* self.link.connect(RecoverFile.target(node))
  self.reasons.delete(address)
  KeptJobs.begin(self.kept, address)
  const listener = KeptEvents.listener(
    self,
    address,
    (leaseId) => self.transfer.open(RecoverFile.target(node), leaseId)
  )
  yield* Stream.runForEach(
    connection.recover(RecoverFile.keyOf(self.file, node)!, isTerminating),
    (event) => Effect.map(listener.take(event), (jobs) => settle(self, { jobs, nodes: [] }))
  )
  return listener
})

/** Asks a node until it has told everything, or no more is to be had of it now. */
const ask = Effect.fnUntraced(function*(self: Self, address: string, isTerminating: boolean) {
  const node = self.file.nodes.get(address)!
  for (let round = 1; round <= maxRounds;) {
    const tried = yield* Effect.result(Effect.scoped(tryOnce(self, node, isTerminating)))
    if (tried._tag === "Success") {
      const { computations, problems } = tried.success
      if (problems.length === 0) return ended(self, address, computations)
      self.reasons.set(address, problems.join("; "))
      round++
    } else {
      const { failure } = tried
      if (failure._tag === "NothingKept" && failure.isInUse !== true) {
        yield* Effect.logDebug(failure.message)
        KeptJobs.begin(self.kept, address)
        return ended(self, address, new Set())
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

const counted = (count: number): string => `${count} ${count === 1 ? "job has" : "jobs have"}`

/** Jobs that no node has. */
const leftOf = (self: Self): ReadonlyArray<Unfinished> => {
  const left = RestJobs.size(self.rest)
  if (left === 0) return []
  const problems = self.runner?.problems() ?? ["what was never sent was not to be run"]
  const reason = `${counted(left)} no outcome${problems.length === 0 ? "" : `: ${problems.join("; ")}`}`
  return [{ node: "the recover file", reason, running: 0 }]
}

const openNodes = (self: Self): ReadonlyArray<Unfinished> =>
  KeptJobs.open(self.kept).map((node) => {
    const running = KeptJobs.running(self.kept, node)
    const jobs = running === 0
      ? "it has not told everything"
      : `${counted(running)} not ended`
    return { node, reason: self.reasons.get(node) ?? jobs, running }
  })

const unfinishedOf = (self: Self): ReadonlyArray<Unfinished> => [...openNodes(self), ...leftOf(self)]

/** Says what is waited for: a program must not just hang. */
const notice = (self: Self): Effect.Effect<never> =>
  Effect.suspend(() => {
    const unfinished = openNodes(self)
    return unfinished.length === 0
      ? Effect.void
      : Effect.logWarning(`still recovering from ${describeUnfinished(unfinished)}`)
  }).pipe(Effect.delay(firstNotice), Effect.andThen(Effect.sleep(nextNotices)), Effect.forever)

const forget = (self: Self, address: string): Effect.Effect<boolean> =>
  self.link.connect(RecoverFile.target(self.file.nodes.get(address)!)).pipe(
    Effect.flatMap((connection) => connection.forget(RecoverFile.keyOf(self.file, self.file.nodes.get(address)!)!)),
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

/** What the program had, and its user did not. */
const takeFromFile = (self: Self): void => {
  const jobs: Array<KeptJobs.KeptJob> = []
  for (const [computationId, queue] of self.file.queues) {
    for (const { replies } of queue.jobs.values()) {
      for (const reply of replies) {
        const job = KeptJobs.repliedBefore(self.kept, computationId, reply)
        if (job !== undefined) jobs.push(job)
      }
    }
  }
  offer(self, { jobs, nodes: [] })
}

/** Waits for the jobs that were run here; when the time is over, those that have not begun are left. */
const awaitRuns = (runner: Runner, millisLeft: number, isTerminating: boolean): Effect.Effect<void> =>
  millisLeft === 0 ? runner.idle : runner.idle.pipe(
    Effect.timeoutOption(Math.max(1, millisLeft)),
    Effect.andThen(Effect.suspend(() => {
      runner.stop(isTerminating)
      return runner.idle
    }))
  )

/** Begins to recover; ends with the scope. */
export const start = Effect.fnUntraced(function*(
  path: string,
  file: RecoverFile.RecoverFile,
  { directory, terminatePending, timeoutMillis }: RecoveryOptions,
  means: Means = { append: (entries) => RecoverFileDisk.append(path, entries), runner: undefined }
): Effect.fn.Return<JobRecovery, never, NodeLink | FileTransfer | Scope.Scope> {
  const kept = KeptJobs.make(file)
  const isWaitingFirst = timeoutMillis > 0 && terminatePending
  const isEnding = terminatePending && !isWaitingFirst
  const rest = RestJobs.make(file, kept)
  const queue = yield* Queue.unbounded<KeptJobs.Settled, Cause.Done>()
  const runner = yield* (isEnding ? undefined : means.runner)?.({
    ended: (job) => Queue.offerUnsafe(queue, { jobs: [job], nodes: [] }),
    left: (job) => RestJobs.reopen(rest, job)
  }) ?? Effect.succeed(undefined)
  const self: Self = {
    file,
    kept,
    rest,
    runner,
    isEnding,
    directory,
    fetched: new Map(),
    queue,
    link: yield* NodeLink,
    transfer: yield* FileTransfer,
    reasons: new Map([...file.nodes.keys()].map((address) => [address, "it has not answered yet"]))
  }
  for (const problem of file.problems) yield* Effect.logWarning(`recover file ${path}: ${problem}`)
  const startedAt = yield* Clock.currentTimeMillis
  /** Nodes that are given up: what they might have was told as lost. */
  const done = new Set<string>()
  const isDurable = file.queues.size > 0
  yield* Effect.sync(() => {
    takeFromFile(self)
    decide(self, false)
  }).pipe(
    Effect.andThen(askAll(self, isEnding, timeoutMillis)),
    Effect.andThen(isWaitingFirst ? askAll(self, true, endMillis) : Effect.void),
    Effect.andThen(Effect.sync(() => settle(self, KeptJobs.giveUp(self.kept)))),
    Effect.andThen(Clock.currentTimeMillis),
    Effect.flatMap((now) => {
      if (terminatePending && isDurable) {
        for (const { node } of openNodes(self)) done.add(node)
        decide(self, true)
      }
      const left = timeoutMillis === 0 ? 0 : Math.max(1, timeoutMillis - (now - startedAt))
      return runner === undefined ? Effect.void : awaitRuns(runner, left, terminatePending)
    }),
    Effect.andThen(Effect.sync(() => Queue.endUnsafe(self.queue))),
    Effect.raceFirst(notice(self)),
    Effect.forkScoped
  )
  const handOver: JobRecovery["handOver"] = Effect.fnUntraced(function*(batches) {
    const entries = handedOver(batches.flatMap(({ jobs }) => jobs))
    if (entries.length > 0) yield* means.append(entries)
    const nodes = new Set(batches.flatMap((batch) => batch.nodes)).difference(done)
    yield* Effect.forEach(
      nodes,
      (address) => Effect.map(forget(self, address), (isForgotten) => isForgotten ? done.add(address) : undefined),
      { concurrency: "unbounded", discard: true }
    )
    const gone = [...nodes].filter((address) => done.has(address))
    if (gone.length === 0) return
    yield* means.append(
      gone.map((address) => {
        const { generation, host, port } = file.nodes.get(address)!
        return { _tag: "Done", host, port, ...(generation === undefined ? {} : { generation }) }
      })
    )
  })
  return {
    file,
    next: Queue.takeAll(self.queue),
    handOver,
    unfinished: () => unfinishedOf(self).filter(({ node }) => !done.has(node)),
    end: Effect.suspend(() =>
      done.size === file.nodes.size && RestJobs.size(rest) === 0 ? RecoverFileDisk.remove(path) : Effect.void
    )
  }
})
