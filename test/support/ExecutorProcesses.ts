/** Executors with real slot processes for tests, and what they must not leave behind. */
import { Effect, Layer } from "effect"
import * as fs from "node:fs"
import * as os from "node:os"
import * as path from "node:path"
import * as JobExecutorProcess from "../../src/layers/executor/JobExecutorProcess.ts"
import * as ExecutorConfig from "../../src/services/ExecutorConfig.ts"
import type { JobExecutor } from "../../src/services/JobExecutor.ts"

const directories: Array<string> = []

/** A process executor with a directory of its own, removed with the layer. */
export const layerProcess = (settings: Partial<ExecutorConfig.ExecutorSettings>): Layer.Layer<JobExecutor> =>
  Layer.unwrap(Effect.map(
    Effect.acquireRelease(
      Effect.sync(() => {
        const directory = fs.mkdtempSync(path.join(os.tmpdir(), "dispy-test-"))
        directories.push(directory)
        return directory
      }),
      (directory) => Effect.sync(() => fs.rmdirSync(directory))
    ),
    (directory) => JobExecutorProcess.layer.pipe(Layer.provide(ExecutorConfig.layer({ ...settings, directory })))
  ))

/** Directories of executors that are still there. */
export const leftDirectories = (): ReadonlyArray<string> => directories.filter((directory) => fs.existsSync(directory))
