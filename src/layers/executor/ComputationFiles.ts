/** The code of a computation on a node, and the directory its jobs work in where the node has made none. */
import { Effect, type Scope } from "effect"
import * as fs from "node:fs/promises"
import * as path from "node:path"
import type { Code, Depends } from "../../domain/Computation.ts"
import { ComputationRefused } from "../../domain/NodeError.ts"
import { messageOf } from "../../domain/Thrown.ts"
import type { SlotCode } from "../../domain/wire/SlotFrames.ts"
import type { ExecutorRequest } from "../../services/JobExecutor.ts"

/** What a slot is told of the code. */
export interface LoadedCode extends SlotCode {
  /** Where the jobs work. */
  readonly directory: string
  /** Where the node keeps its own files of the computation. */
  readonly folder: string
  /** Encoded arguments of the three below; empty for none. */
  readonly setupArgsPath: string
  /** Empty when there is nothing to take along. */
  readonly dependsPath: string
  readonly setup: SlotCode | null
  readonly setupSlot: SlotCode | null
  readonly cleanup: SlotCode | null
}

const writeCode = async (folder: string, name: string, code: Code): Promise<SlotCode> => {
  await fs.mkdir(folder, { recursive: true, mode: 0o700 })
  const nothing = { name, exportName: "", capturesPath: "", runner: "" }
  switch (code._tag) {
    case "FunctionCode": {
      const codePath = path.join(folder, "function.js")
      const capturesPath = path.join(folder, "captures")
      await fs.writeFile(codePath, code.source)
      await fs.writeFile(capturesPath, code.captures)
      return { ...nothing, kind: "function", codePath, capturesPath }
    }
    case "ModuleCode": {
      const codePath = path.join(folder, "module.mjs")
      await fs.writeFile(codePath, code.code)
      return { ...nothing, kind: "module", codePath, exportName: code.exportName }
    }
    case "ProgramCode": {
      const runner = code.runner ?? ""
      if (code.bytes === undefined) return { ...nothing, kind: "program", codePath: code.program, runner }
      const codePath = path.join(folder, path.basename(code.program))
      await fs.writeFile(codePath, code.bytes, { mode: 0o700 })
      return { ...nothing, kind: "program", codePath, runner }
    }
  }
}

/** Definitions and modules; programs find the modules in their working directory. */
const writeDepends = async (
  folder: string,
  directory: string | undefined,
  { definitions, modules }: Pick<Depends, "definitions" | "modules">
): Promise<string> => {
  const listed: Array<{ name: string; path: string }> = []
  await fs.mkdir(folder, { recursive: true, mode: 0o700 })
  for (const { code, name } of modules) {
    const file = path.join(folder, `${folderName(name)}.mjs`)
    await fs.writeFile(file, code)
    if (directory !== undefined) await fs.writeFile(path.join(directory, `${folderName(name)}.mjs`), code)
    listed.push({ name, path: file })
  }
  const file = path.join(folder, "depends.json")
  await fs.writeFile(file, JSON.stringify({ definitions, modules: listed }))
  return file
}

const write = async (
  folder: string,
  { computation, directory: given, setupArgs }: Pick<ExecutorRequest, "computation" | "directory" | "setupArgs">
): Promise<LoadedCode> => {
  const { code, depends, lifecycle = { timeoutMillis: 0 }, name } = computation
  const directory = given ?? path.join(folder, "work")
  if (given === undefined) await fs.mkdir(directory, { recursive: true, mode: 0o700 })
  await fs.mkdir(folder, { recursive: true, mode: 0o700 })
  const setupArgsPath = setupArgs === undefined ? "" : path.join(folder, "setup-args")
  if (setupArgs !== undefined) await fs.writeFile(setupArgsPath, setupArgs)
  const written = (role: string, one: Code | undefined): Promise<SlotCode | null> =>
    one === undefined ? Promise.resolve(null) : writeCode(path.join(folder, role), role, one)
  const hasDepends = depends !== undefined && depends.definitions.length + depends.modules.length > 0
  return {
    ...await writeCode(path.join(folder, "code"), name, code),
    directory,
    folder,
    setupArgsPath,
    dependsPath: hasDepends
      ? await writeDepends(path.join(folder, "depends"), code._tag === "ProgramCode" ? directory : undefined, depends)
      : "",
    setup: await written("setup", lifecycle.setup),
    setupSlot: await written("setupSlot", lifecycle.setupSlot),
    cleanup: await written("cleanup", lifecycle.cleanup)
  }
}

/** A folder name made of an id that may hold anything. */
const folderName = (id: string): string => id.replaceAll(/[^A-Za-z0-9_$-]/g, "_").slice(0, 64)

/** Writes the files; they are removed with the scope. */
export const acquire = (
  directory: string,
  unique: number,
  node: string,
  request: Pick<ExecutorRequest, "computation" | "directory" | "setupArgs">
): Effect.Effect<LoadedCode, ComputationRefused, Scope.Scope> => {
  const { computation } = request
  const folder = path.join(directory, `${folderName(computation.id)}-${unique}`)
  const written = Effect.tryPromise({
    try: () => write(folder, request),
    catch: (error) =>
      new ComputationRefused({
        node,
        computation: computation.name,
        reason: `its files cannot be written to ${folder}: ${messageOf(error)}`
      })
  })
  // A process that was killed a moment ago may still be writing.
  const removed = Effect.promise(() => fs.rm(folder, { recursive: true, force: true, maxRetries: 5 }))
  return Effect.andThen(Effect.addFinalizer(() => removed), written)
}
