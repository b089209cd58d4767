/** The settings of a node under test, with a directory of its own that goes with the scope. */
import { Effect, Layer } from "effect"
import * as fs from "node:fs"
import * as os from "node:os"
import * as path from "node:path"
import * as NodeConfig from "../../src/services/NodeConfig.ts"

/** The defaults with these settings in their place. */
export const layer = (settings: Partial<NodeConfig.NodeSettings>): Layer.Layer<NodeConfig.NodeConfig> =>
  Layer.unwrap(
    Effect.map(
      Effect.acquireRelease(
        Effect.sync(() => fs.mkdtempSync(path.join(os.tmpdir(), "dispy-test-node-"))),
        (home) => Effect.sync(() => fs.rmSync(home, { recursive: true, force: true, maxRetries: 5 }))
      ),
      (home) => NodeConfig.layer({ directory: path.join(home, "node", "run"), ...settings })
    )
  )
