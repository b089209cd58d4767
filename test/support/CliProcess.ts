/** Runs `dispy` as a process of its own. */
import { type ChildProcess, execFile } from "node:child_process"
import * as Built from "./Built.ts"

/** Where it is. */
export const program = Built.program("dispy")

/** How it ended. */
export interface Ran {
  readonly status: number
  readonly stdout: string
  readonly stderr: string
}

/** Runs it to its end, without the variables of the tests' own environment that dispy reads. */
export const run = (
  args: ReadonlyArray<string>,
  options: {
    readonly cwd?: string
    readonly env?: Readonly<Record<string, string>>
    /** Gets the process when it has been started. */
    readonly onStart?: (child: ChildProcess) => void
  } = {}
): Promise<Ran> =>
  new Promise((resolve) => {
    const own = Object.entries(process.env).filter(([name]) => !name.startsWith("DISPY"))
    const env = { ...Object.fromEntries(own), ...options.env }
    const child = execFile(
      process.execPath,
      [program, ...args],
      { env, timeout: 60_000, maxBuffer: 64 * 1024 * 1024, ...(options.cwd === undefined ? {} : { cwd: options.cwd }) },
      (error, stdout, stderr) => {
        const status = error === null ? 0 : typeof error.code === "number" ? error.code : -1
        resolve({ status, stdout, stderr })
      }
    )
    options.onStart?.(child)
  })
