/**
 * Two projects: `unit` holds everything that runs inside the test process and may
 * share the machine; `integration` starts real nodes and slots, so its files run
 * one after the other, after the unit tests, and never compete for the cores.
 * `soak` has the same at full size, for `npm run soak`; it is no part of `npm test`.
 */
import { fileURLToPath } from "node:url"
import { defineConfig } from "vitest/config"

const shared = {
  pool: "forks",
  // Hundreds of daemons and clients are started from the same sources.
  env: { NODE_COMPILE_CACHE: fileURLToPath(new URL("node_modules/.cache/node-compile", import.meta.url)) },
  testTimeout: 120_000,
  hookTimeout: 120_000,
  retry: 0
} as const

export default defineConfig({
  test: {
    globalSetup: ["test/support/Built.ts"],
    projects: [
      {
        test: {
          ...shared,
          name: "unit",
          include: ["test/**/*.test.ts"],
          exclude: ["test/integration/**"],
          maxWorkers: 2,
          sequence: { groupOrder: 0 }
        }
      },
      {
        test: {
          ...shared,
          name: "integration",
          include: ["test/integration/**/*.test.ts"],
          fileParallelism: false,
          sequence: { groupOrder: 1 }
        }
      },
      {
        test: {
          ...shared,
          name: "soak",
          include: ["test/soak/**/*.soak.ts"],
          fileParallelism: false,
          testTimeout: 1_800_000,
          sequence: { groupOrder: 2 }
        }
      }
    ]
  }
})
