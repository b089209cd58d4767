/** The code of a computation on a node, and the directory its jobs work in where the node has made none. */
import { Effect, type Scope } from "effect"
import * as fs from "node:fs/promises"
import * as path from "node:path"
import type { Code } from "../../domain/Computation.ts"
import { ComputationRefused } from "../../domain/NodeError.ts"
import type { PrepareSlot } from "../../domain/wire/SlotFrames.ts"
import type { ExecutorRequest } from "../../services/JobExecutor.ts"

/** What a slot is told of the code. */
export type LoadedCode = Pick<
  PrepareSlot,
  "kind" | "name" | "directory" | "codePath" | "exportName" | "capturesPath" | "runner"
>

const write = async (folder: string, name: string, code: Code, given: string | undefined): Promise<LoadedCode> => {
  const directory = given ?? path.join(folder, "work")
  const codeFolder = path.join(folder, "code")
  if (given === undefined) await fs.mkdir(directory, { recursive: true, mode: 0o700 })
  await fs.mkdir(codeFolder, { recursive: true, mode: 0o700 })
  const nothing = { name, directory, exportName: "", capturesPath: "", runner: "" }
  switch (code._tag) {
    case "FunctionCode": {
      const codePath = path.join(codeFolder, "function.js")
      const capturesPath = path.join(codeFolder, "captures")
      await fs.writeFile(codePath, code.source)
      await fs.writeFile(capturesPath, code.captures)
      return { ...nothing, kind: "function", codePath, capturesPath }
    }
    case "ModuleCode": {
      const codePath = path.join(codeFolder, "module.mjs")
      await fs.writeFile(codePath, code.code)
      return { ...nothing, kind: "module", codePath, exportName: code.exportName }
    }
    case "ProgramCode": {
      const runner = code.runner ?? ""
      if (code.bytes === undefined) return { ...nothing, kind: "program", codePath: code.program, runner }
      const codePath = path.join(codeFolder, path.basename(code.program))
      await fs.writeFile(codePath, code.bytes, { mode: 0o700 })
      return { ...nothing, kind: "program", codePath, runner }
    }
  }
}

/** A folder name made of an id that may hold anything. */
const folderName = (id: string): string => id.replaceAll(/[^A-Za-z0-9-]/g, "_").slice(0, 64)

/** Writes the files; they are removed with the scope. */
export const acquire = (
  directory: string,
  unique: number,
  node: string,
  { computation, directory: given }: Pick<ExecutorRequest, "computation" | "directory">
): Effect.Effect<LoadedCode, ComputationRefused, Scope.Scope> => {
  const folder = path.join(directory, `${folderName(computation.id)}-${unique}`)
  const written = Effect.tryPromise({
    try: () => write(folder, computation.name, computation.code, given),
    catch: (error) =>
      new ComputationRefused({
        node,
        computation: computation.name,
        reason: `its files cannot be written: ${error instanceof Error ? error.message : String(error)}`
      })
  })
  // A process that was killed a moment ago may still be writing.
  const removed = Effect.promise(() => fs.rm(folder, { recursive: true, force: true, maxRetries: 5 }))
  return Effect.andThen(Effect.addFinalizer(() => removed), written)
}
