/**
 * Finds the program of a computation: a file of this machine, which is sent, or a command that the nodes have.
 *
 * As in a shell, a slash makes the difference. A command is not looked for here: only the nodes' PATH matters.
 */
import { Effect } from "effect"
import { constants } from "node:fs"
import * as fs from "node:fs/promises"
import * as path from "node:path"
import { NotExecutable, ProgramNotFound } from "../../domain/ComputationError.ts"

export interface Resolved {
  readonly kind: "file" | "command"
  /** The file's base name, or the command. */
  readonly name: string
  /** The file's contents. */
  readonly bytes?: Uint8Array
  /** The file's permissions (`0o755`). A script with a `#!` line may lack the right to be executed: give it that. */
  readonly mode?: number
  /** The interpreter for scripts that are known by their ending; without one the file itself is executed. */
  readonly runner?: Runner
}

type Runner = "node" | "python3" | "java"

/** As dispy does for Python and Java; a Java source file is compiled and run in one go. */
const runners: Readonly<Record<string, Runner>> = {
  ".js": "node",
  ".mjs": "node",
  ".cjs": "node",
  ".ts": "node",
  ".mts": "node",
  ".cts": "node",
  ".py": "python3",
  ".java": "java"
}

const anyoneExecutes = constants.S_IXUSR | constants.S_IXGRP | constants.S_IXOTH

/** The program by its name: `./simulate.sh`, `/usr/bin/env`, `ffmpeg`. Paths count from `cwd`. */
export const resolve = Effect.fnUntraced(function*(
  program: string,
  cwd = process.cwd()
): Effect.fn.Return<Resolved, ProgramNotFound | NotExecutable> {
  if (program === "") return yield* new ProgramNotFound({ program, searched: [] })
  if (!program.includes("/") && !program.includes(path.sep)) return { kind: "command", name: program }

  const file = path.resolve(cwd, program)
  const { bytes, stats } = yield* Effect.tryPromise({
    try: () => read(file),
    catch: (cause) => new ProgramNotFound({ program, searched: [`${file}${reasonOf(cause)}`] })
  })
  if (bytes === undefined) return yield* new ProgramNotFound({ program, searched: [`${file}, which is no file`] })

  const name = path.basename(file)
  const mode = stats.mode & 0o777
  const runner = runners[path.extname(name).toLowerCase()]
  if (runner !== undefined) return { kind: "file", name, bytes, mode, runner }
  const isScript = bytes[0] === 0x23 && bytes[1] === 0x21
  if (!isScript && (mode & anyoneExecutes) === 0) return yield* new NotExecutable({ program })
  return { kind: "file", name, bytes, mode }
})

const read = async (file: string) => {
  // Through one handle, so that what is looked at is what is read. A pipe would block the opening for ever.
  const handle = await fs.open(file, constants.O_RDONLY | constants.O_NONBLOCK)
  try {
    const stats = await handle.stat()
    return { stats, bytes: stats.isFile() ? await handle.readFile() : undefined }
  } finally {
    await handle.close()
  }
}

const reasonOf = (cause: unknown): string => {
  const { code } = cause as NodeJS.ErrnoException
  return code === "ENOENT" || code === "ENOTDIR" ? "" : code === "EACCES" ? ", which may not be read" : ` (${code})`
}
