/** How a node's executor is set up. */
import { Config, Context, Effect, Layer, Option } from "effect"

/** The settings of an executor. */
export interface ExecutorSettings {
  /** Jobs that run at the same time, at most. Default 1. */
  readonly cpus: number
  /** Directory for the files of computations; removed when the process dies without closing the executor. */
  readonly directory: string
  /** Blank slots kept warm, so that a replacement is there before it is missed. Default 2, or `cpus` if that is less. */
  readonly spares: number | undefined
  /** What jobs see as `dispy.nodeName`. Default "node". */
  readonly nodeName: string
  /** What jobs see as `dispy.ipAddr`. Default "127.0.0.1". */
  readonly ipAddr: string
  /** Jobs sent to a slot and not replied to, at most; 1 sends none ahead of time. Default 256. */
  readonly maxInflight: number
  /** How long the code of a computation may take to load, in milliseconds. Default 30 seconds. */
  readonly prepareMillis: number
  /** Options of Node for slot processes, such as `--max-old-space-size=2048`. Default none. */
  readonly slotOptions: ReadonlyArray<string>
  /** File with values, by name in one encoded object, that every job finds as globals; empty for none. Default none. */
  readonly globalsPath: string
  /** Variables beside those. Default none. */
  readonly addedEnvironment: Readonly<Record<string, string>>
  /** Environment of slot processes. Default: what `environmentNames` has in this process's. */
  readonly environment: Readonly<Record<string, string>>
}

/** The settings of an executor. */
export class ExecutorConfig
  extends Context.Service<ExecutorConfig, ExecutorSettings>()("dispy/services/ExecutorConfig")
{}

/** Variables that jobs get from the node's environment; everything else may be a secret and is not for them. */
export const environmentNames: ReadonlyArray<string> = [
  "PATH",
  "HOME",
  "USER",
  "LOGNAME",
  "SHELL",
  "LANG",
  "LANGUAGE",
  "LC_ALL",
  "LC_COLLATE",
  "LC_CTYPE",
  "LC_MESSAGES",
  "LC_MONETARY",
  "LC_NUMERIC",
  "LC_TIME",
  "TZ",
  "TMPDIR",
  "TMP",
  "TEMP",
  "SystemRoot",
  "PATHEXT",
  "ComSpec"
]

/** What holds when nothing is said. */
export const defaults: Omit<ExecutorSettings, "environment"> = {
  cpus: 1,
  directory: ".",
  spares: undefined,
  nodeName: "node",
  ipAddr: "127.0.0.1",
  maxInflight: 256,
  prepareMillis: 30_000,
  slotOptions: [],
  globalsPath: "",
  addedEnvironment: {}
}

const environmentFromProcess = Effect.gen(function*() {
  const environment: Record<string, string> = {}
  for (const name of environmentNames) {
    const value = yield* Config.option(Config.String(name))
    if (Option.isSome(value)) environment[name] = value.value
  }
  return environment
})

/** The defaults with these settings in their place. */
export const layer = (settings: Partial<ExecutorSettings>): Layer.Layer<ExecutorConfig> =>
  Layer.effect(
    ExecutorConfig,
    Effect.map(
      settings.environment === undefined ? Effect.orDie(environmentFromProcess) : Effect.succeed(settings.environment),
      (environment) => ({
        ...defaults,
        ...settings,
        environment: { ...environment, ...settings.addedEnvironment }
      })
    )
  )
