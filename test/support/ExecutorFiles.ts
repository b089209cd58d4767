/** Files through which jobs and their test tell each other things, and a check that nothing outlives the tests of a file. */
import * as fs from "node:fs"
import * as os from "node:os"
import * as path from "node:path"
import { afterAll, beforeAll, expect, vi } from "vitest"
import { leftDirectories } from "./ExecutorProcesses.ts"
import { carrying } from "./Processes.ts"

/** Gives each call a file name of its own, in a folder that is there while the tests of this file run. */
export const executorFiles = (name: string): () => string => {
  let folder = ""
  let last = 0
  beforeAll(() => {
    folder = fs.mkdtempSync(path.join(os.tmpdir(), `dispy-${name}-`))
    // For temporary files of executors and jobs, and a mark in the environment of what they start.
    vi.stubEnv("TMPDIR", folder)
  })
  afterAll(() => {
    const left = { directories: leftDirectories(), processes: carrying(folder) }
    vi.unstubAllEnvs()
    fs.rmSync(folder, { recursive: true })
    expect(left).toEqual({ directories: [], processes: [] })
  })
  return () => path.join(folder, `file-${++last}`)
}
