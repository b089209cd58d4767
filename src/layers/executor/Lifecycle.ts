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

const isThere = (file: string): Promise<boolean> => fs.access(file).then(() => true, () => false)

/** What a process is told that runs one of them. */
export const order = (
  { settings: { globalsPath, ipAddr, nodeName } }: Pick<Environment, "settings">,
  { dependsPath, directory, setupArgsPath }: LoadedCode,
  role: LifecycleRun["role"],
  code: SlotCode,
  statePath: string
): LifecycleRun => ({
  role,
  code,
  directory,
  dependsPath,
  globalsPath,
  statePath,
  argsPath: setupArgsPath,
  nodeName,
  ipAddr
})

/** Where the host of threads writes what `setup` left; only `cleanup` reads it, so without one it is empty. */
export const hostStatePath = (files: LoadedCode): string =>
  files.cleanup === null ? "" : path.join(files.folder, "state")

/** Runs one of them. */
const run = (
  env: Environment,
  files: LoadedCode,
  unique: number,
  told: LifecycleRun,
  timeoutMillis: number
): Effect.Effect<LifecycleProcess.Ended, never, Scope.Scope> =>
  Effect.gen(function*() {
    const toldPath = path.join(files.folder, `${told.role}.json`)
    const written = yield* Effect.tryPromise(() => fs.writeFile(toldPath, JSON.stringify(told))).pipe(
      Effect.as(""),
      Effect.catch((error) => Effect.succeed(String(error.cause)))
    )
    if (written !== "") return { problem: `its files cannot be written: ${written}`, stdout: "", stderr: "" }
    const { environment, prepareMillis, slotOptions } = env.settings
    const ended = yield* LifecycleProcess.run({
      toldPath,
      marker: `${env.marker}.${told.role}-${unique}`,
      guardian: env.guardian,
      options: slotOptions,
      environment,
      directory: told.directory,
      timeoutMillis,
      prepareMillis
    })
    yield* Effect.annotateLogs(Effect.logDebug(`${told.role} has ended`), { ...ended })
    return ended
  })

/**
 * Runs `setup`, unless the host of the computation's threads does, which shares memory with them; and `cleanup` when the
 * scope ends. Succeeds with the file of what `setup` left, empty without one; fails with its reason and what it printed.
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
      const ended = yield* run(env, files, unique, order(env, files, "setup", setup, statePath), timeoutMillis)
      if (ended.problem !== "") {
        const reason = `setup failed: ${ended.problem}${LifecycleProcess.outputOf(ended)}`
        return yield* new ComputationRefused({ node: env.settings.nodeName, computation: computation.name, reason })
      }
    }
    if (cleanup !== null) {
      const hostState = setup === null && files.setup !== null ? hostStatePath(files) : ""
      const cleaned = order(env, files, "cleanup", cleanup, hostState === "" ? statePath : hostState)
      // A host whose `setup` did not succeed has left nothing to be cleaned up.
      const isSetUp = Effect.promise(() => hostState === "" ? Promise.resolve(true) : isThere(hostState))
      yield* Effect.addFinalizer(() =>
        run(env, files, unique, cleaned, timeoutMillis).pipe(
          Effect.flatMap((ended) =>
            ended.problem === "" ? Effect.void : Effect.logWarning(
              `cleanup of ${computation.name} failed: ${ended.problem}${LifecycleProcess.outputOf(ended)}`
            )
          ),
          Effect.scoped,
          Effect.when(isSetUp)
        )
      )
    }
    return statePath
  })
