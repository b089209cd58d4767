/**
 * Runs jobs in slot processes of this machine. Decisions are made by
 * `domain/node/SlotPool`, carried out by `SlotMachine`; what jobs leave behind is
 * killed and removed when a session or the layer closes, and by the `Guardian`
 * when this process dies before it can.
 */
import { Effect, Layer, Queue } from "effect"
import { randomUUID } from "node:crypto"
import * as fs from "node:fs"
import * as path from "node:path"
import { type Computation, maxConcurrency } from "../../domain/Computation.ts"
import * as SessionJobs from "../../domain/node/SessionJobs.ts"
import { ComputationRefused } from "../../domain/NodeError.ts"
import * as NodeInfo from "../../domain/NodeInfo.ts"
import { ExecutorConfig, type ExecutorSettings } from "../../services/ExecutorConfig.ts"
import { type ExecutorRequest, type ExecutorSession, JobExecutor } from "../../services/JobExecutor.ts"
import * as ComputationFiles from "./ComputationFiles.ts"
import * as Fifos from "./Fifos.ts"
import * as Guardian from "./Guardian.ts"
import * as Lifecycle from "./Lifecycle.ts"
import * as SentFiles from "./SentFiles.ts"
import * as SlotMachine from "./SlotMachine.ts"

/** Most output kept per job and stream: with the largest result it still fits into one message. */
const maxOutputBytes = 4 * 1024 * 1024

/** Notes that nobody read yet; more are dropped. */
const noteCapacity = 1024

const makeMachine = Effect.fnUntraced(function*(settings: ExecutorSettings) {
  const notes = yield* Queue.dropping<SlotMachine.MachineNote>(noteCapacity)
  yield* Queue.take(notes).pipe(
    Effect.flatMap(({ slot, text, what }) =>
      Effect.annotateLogs(Effect.logDebug(what), what === "slot ends" ? { slot, reason: text } : { slot, text })
    ),
    Effect.forever,
    Effect.forkScoped
  )
  const directory = path.resolve(settings.directory, "slots")
  const marker = randomUUID()
  yield* Effect.acquireRelease(
    Effect.sync(() => fs.mkdirSync(directory, { recursive: true, mode: 0o700 })),
    () => Effect.promise(() => fs.promises.rm(directory, { recursive: true, force: true, maxRetries: 5 }))
  )
  const fifos = yield* Effect.promise(() => Fifos.make(directory))
  if (fifos === undefined && settings.maxInflight > 1) {
    yield* Effect.logInfo("there are no FIFOs here: short jobs are sent to their slots one at a time")
  }
  return yield* Effect.acquireRelease(
    Effect.sync(() => {
      const guardian = Guardian.start(marker, path.resolve(settings.directory), settings.environment["PATH"] ?? "")
      const onNote = (note: SlotMachine.MachineNote): boolean => Queue.offerUnsafe(notes, note)
      const machine = SlotMachine.make({ settings, marker, directory, guardian, fifos, onNote })
      SlotMachine.feed(machine, { _tag: "Timer" })
      return machine
    }),
    (machine) => Effect.promise(() => SlotMachine.close(machine).then(machine.guardian.dismiss))
  )
})

/** A client of another kind may ask for anything. */
const concurrencyOf = ({ concurrency = 1 }: Computation): number =>
  Math.max(1, Math.min(maxConcurrency, Math.floor(concurrency) || 1))

/** Why this machine cannot run the computation, whatever its code; undefined if it can. */
const obstacle = (machine: SlotMachine.SlotMachine, { code, executor }: Computation): string | undefined => {
  if (executor !== "thread") return undefined
  if (code._tag === "ProgramCode") return "a program is a process of its own and does not run in a thread"
  return machine.fifos === undefined ? "threads need FIFOs (mkfifo), and there are none here" : undefined
}

const openSession = (
  machine: SlotMachine.SlotMachine,
  id: number,
  request: ExecutorRequest,
  code: ComputationFiles.LoadedCode,
  files: SentFiles.SentFiles,
  statePath: string
): Effect.Effect<void, ComputationRefused> =>
  Effect.callback<void, ComputationRefused>((resume) => {
    const { executor = "process", lifecycle, limits, name } = request.computation
    const { cleanup: _cleanup, folder: _folder, setup, ...loaded } = code
    const concurrency = concurrencyOf(request.computation)
    const cpus = request.cpus ?? Infinity
    const { globalsPath, ipAddr, nodeName } = machine.settings
    machine.sessions.set(id, {
      told: {
        ...loaded,
        statePath,
        executor,
        concurrency,
        hostSetup: executor === "thread" && setup !== null
          ? Lifecycle.order(machine, code, "setup", setup, "", lifecycle?.timeoutMillis ?? 0)
          : null,
        graceMillis: limits.graceMillis,
        nodeName,
        ipAddr,
        globalsPath,
        outputLimitBytes: Math.max(0, Math.min(limits.outputLimitBytes, maxOutputBytes)),
        valuesDirectory: request.valuesDirectory ?? "",
        // Without a place for large ones, a result has to fit into a message.
        resultLimitBytes: request.valuesDirectory === undefined ? NodeInfo.maxCodeBytes : NodeInfo.maxValueBytes
      },
      onReplies: request.onReplies,
      onReady: () => resume(Effect.void),
      onRefused: (reason) => resume(Effect.fail(new ComputationRefused({ node: nodeName, computation: name, reason }))),
      files,
      hostCleanup: Lifecycle.hostCleanup(machine, code, request.computation),
      hasOpened: false,
      slots: new Set(),
      isPaused: false,
      onBuried: () => {}
    })
    SlotMachine.feed(machine, {
      _tag: "SessionOpened",
      session: id,
      graceMillis: limits.graceMillis,
      cpus,
      kind: executor,
      concurrency,
      ...(request.computation.slotLimits === undefined ? {} : { slotLimits: request.computation.slotLimits }),
      // What a slot, or the host of threads, does beside loading the code.
      setupMillis: loaded.setupSlot === null && (setup === null || executor === "process")
        ? 0
        : lifecycle?.timeoutMillis ?? 0
    })
  })

const make = Effect.gen(function*() {
  const settings = yield* ExecutorConfig
  const machine = yield* makeMachine(settings)
  let lastId = 0
  const open = Effect.fn("JobExecutor.open")(function*(request: ExecutorRequest) {
    const id = ++lastId
    const reason = obstacle(machine, request.computation)
    if (reason !== undefined) {
      const { name } = request.computation
      return yield* new ComputationRefused({ node: settings.nodeName, computation: name, reason })
    }
    const files = SentFiles.make(request.onFile)
    const code = yield* ComputationFiles.acquire(settings.directory, id, settings.nodeName, request)
    const statePath = yield* Lifecycle.acquire(machine, code, id, request.computation)
    yield* Effect.addFinalizer(() => {
      SentFiles.forget(files)
      const told = machine.sessions.get(id)?.hostCleanup ?? null
      return Effect.promise(() => SlotMachine.closeSession(machine, id)).pipe(
        Effect.flatMap((problem) => Lifecycle.afterHost(machine, code, id, request.computation.name, told, problem))
      )
    })
    yield* openSession(machine, id, request, code, files, statePath)
    const session: ExecutorSession = {
      dispatch: (batch) => SlotMachine.feed(machine, { _tag: "JobsArrived", session: id, batch }),
      cancel: (jobIds) => SlotMachine.feed(machine, { _tag: "JobsCancelled", session: id, jobIds }),
      setPaused: (isPaused) => SlotMachine.setPaused(machine, id, isPaused),
      returnQueued: () => SlotMachine.feed(machine, { _tag: "QueueReturned", session: id }),
      setCpus: (cpus) => SlotMachine.feed(machine, { _tag: "SessionLimited", session: id, cpus }),
      jobs: () => {
        const pooled = machine.pool.sessions.get(id)
        return pooled === undefined ? SessionJobs.none : SessionJobs.of(pooled)
      },
      answerFile: (fileId, problem) => SentFiles.answer(files, fileId, problem)
    }
    return session
  })
  return JobExecutor.of({
    cpus: () => machine.pool.cpus,
    setCpus: (cpus) => SlotMachine.feed(machine, { _tag: "CpusSet", cpus }),
    open
  })
})

/** Jobs run in slot processes. */
export const layer: Layer.Layer<JobExecutor, never, ExecutorConfig> = Layer.effect(JobExecutor, make)
