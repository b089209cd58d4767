/** `setup` and `cleanup` of a computation on a node: once each, around everything else that the computation does there. */
import { Effect, type Scope } from "effect"
import * as fs from "node:fs/promises"
import * as path from "node:path"
import type { Computation } from "../../domain/Computation.ts"
import { ComputationRefused } from "../../domain/NodeError.ts"
import type { LifecycleRun, SlotCode } from "../../domain/wire/SlotFrames.ts"
import type { ExecutorSettings } from "../../services/ExecutorConfig.ts"
import type { LoadedCode } from "./ComputationFiles.ts"
import type { Guardian } from "./Guardian.ts"
import * as LifecycleProcess from "./LifecycleProcess.ts"

/** What it needs of the node. */
export interface Environment {
  readonly settings: ExecutorSettings
  readonly guardian: Guardian
  /** Prefix of the markers of all processes, unique on this machine. */
  readonly marker: string
}

/** What a process is told that runs one of them. */
export const order = (
  { settings: { globalsPath, ipAddr, nodeName } }: Pick<Environment, "settings">,
  { dependsPath, directory, setupArgsPath }: LoadedCode,
  role: LifecycleRun["role"],
  code: SlotCode,
  statePath: string,
  timeoutMillis: number
): LifecycleRun => ({
  role,
  timeoutMillis,
  code,
  directory,
  dependsPath,
  globalsPath,
  statePath,
  argsPath: setupArgsPath,
  nodeName,
  ipAddr
})

/** Runs one of them. */
const run = (
  env: Environment,
  files: LoadedCode,
  unique: number,
  told: LifecycleRun
): Effect.Effect<LifecycleProcess.Ended, never, Scope.Scope> =>
  Effect.gen(function*() {
    const toldPath = path.join(files.folder, `${told.role}.json`)
    const written = yield* Effect.tryPromise(() => fs.writeFile(toldPath, JSON.stringify(told))).pipe(
      Effect.as(""),
      Effect.catch((error) => Effect.succeed(String(error.cause)))
    )
    if (written !== "") {
      return { problem: `its files cannot be written to ${files.folder}: ${written}`, stdout: "", stderr: "" }
    }
    const { environment, prepareMillis, slotOptions } = env.settings
    const ended = yield* LifecycleProcess.run({
      toldPath,
      marker: `${env.marker}.${told.role}-${unique}`,
      guardian: env.guardian,
      options: slotOptions,
      environment,
      directory: told.directory,
      timeoutMillis: told.timeoutMillis,
      prepareMillis
    })
    yield* Effect.annotateLogs(Effect.logDebug(`${told.role} has ended`), { ...ended })
    return ended
  })

const warn = (name: string, problem: string): Effect.Effect<void> =>
  problem === "" ? Effect.void : Effect.logWarning(`cleanup of ${name} failed: ${problem}`)

/** Runs `cleanup` in a process of its own, and warns if it fails. */
const cleanUp = (
  env: Environment,
  files: LoadedCode,
  unique: number,
  name: string,
  told: LifecycleRun
): Effect.Effect<void> =>
  run(env, files, unique, told).pipe(
    Effect.flatMap((ended) => warn(name, ended.problem === "" ? "" : LifecycleProcess.problemOf(ended))),
    Effect.scoped
  )

/** What the host of threads is told for `cleanup`, which it runs with what `setup` left in its memory. */
export const hostCleanup = (
  env: Environment,
  files: LoadedCode,
  { executor, lifecycle }: Computation
): LifecycleRun | null =>
  executor === "thread" && files.cleanup !== null
    ? order(env, files, "cleanup", files.cleanup, "", lifecycle?.timeoutMillis ?? 0)
    : null

/** The host ran `cleanup` and said this of it; if it was gone, a process of its own does, without what `setup` left. */
export const afterHost = (
  env: Environment,
  files: LoadedCode,
  unique: number,
  name: string,
  told: LifecycleRun | null,
  problem: string | undefined
): Effect.Effect<void> =>
  problem === undefined && told !== null ? cleanUp(env, files, unique, name, told) : warn(name, problem ?? "")

/**
 * Runs `setup`, and `cleanup` when the scope ends, unless the host of the computation's threads does, which shares memory
 * with them. Succeeds with the file of what `setup` left, empty without one; fails with its reason and what it printed.
 */
export const acquire = (
  env: Environment,
  files: LoadedCode,
  unique: number,
  computation: Computation
): Effect.Effect<string, ComputationRefused, Scope.Scope> =>
  Effect.gen(function*() {
    const { cleanup } = files
    const timeoutMillis = computation.lifecycle?.timeoutMillis ?? 0
    const setup = computation.executor === "thread" ? null : files.setup
    const statePath = setup === null ? "" : path.join(files.folder, "state")
    if (setup !== null) {
      const told = order(env, files, "setup", setup, statePath, timeoutMillis)
      const ended = yield* run(env, files, unique, told)
      if (ended.problem !== "") {
        const reason = `setup failed: ${LifecycleProcess.problemOf(ended)}`
        return yield* new ComputationRefused({ node: env.settings.nodeName, computation: computation.name, reason })
      }
    }
    if (cleanup !== null && computation.executor !== "thread") {
      const told = order(env, files, "cleanup", cleanup, statePath, timeoutMillis)
      yield* Effect.addFinalizer(() => cleanUp(env, files, unique, computation.name, told))
    }
    return statePath
  })
