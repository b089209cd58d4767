/**
 * What a cluster sends to its nodes once: the code to run, what that needs around
 * it, and the limits that hold for every job of it.
 */
import { Schema } from "effect"

/** A function shipped as source text. */
export const FunctionCode = Schema.TaggedStruct("FunctionCode", {
  /** An expression that evaluates to the function. */
  source: Schema.String,
  /** The captured values by name, as one encoded object. */
  captures: Schema.Uint8Array
})

/** A module bundled with its imports. */
export const ModuleCode = Schema.TaggedStruct("ModuleCode", {
  /** An ES module with an inline source map. */
  code: Schema.String,
  exportName: Schema.String
})

/** A program, run once per job with string arguments. */
export const ProgramCode = Schema.TaggedStruct("ProgramCode", {
  /** Base name of the file, or a command on the node's PATH. */
  program: Schema.String,
  /** The program's bytes; absent for a command of the node. */
  bytes: Schema.optionalKey(Schema.Uint8Array),
  /** Interpreter for a file that is not executable by itself ("node", "python3", "java"); absent for none. */
  runner: Schema.optionalKey(Schema.String)
})

/** One of the three kinds of code. */
export const Code = Schema.Union([FunctionCode, ModuleCode, ProgramCode])

/** One of the three kinds of code. */
export type Code = typeof Code.Type

/** Limits that hold for every job of a computation. */
export const JobLimits = Schema.Struct({
  /** How long a cancelled or overdue job may take to end by itself before SIGKILL. */
  graceMillis: Schema.Number,
  /** Bytes of stdout, and of stderr, kept per job. */
  outputLimitBytes: Schema.Number
})

/** Limits that hold for every job of a computation. */
export type JobLimits = typeof JobLimits.Type

/** When the slots of a computation are replaced though nothing is wrong with them; 0 stands for never. */
export const SlotLimits = Schema.Struct({
  /** After so many jobs. */
  jobs: Schema.Number,
  /** When its process and all it started use more than this between two jobs. */
  memoryKiB: Schema.Number
})

/** When the slots of a computation are replaced though nothing is wrong with them; 0 stands for never. */
export type SlotLimits = typeof SlotLimits.Type

/** A function or class that the computation, its setup and its cleanup find by name. */
export const Definition = Schema.Struct({
  kind: Schema.Literals(["function", "class"]),
  name: Schema.String,
  /** An expression that evaluates to it, in a scope that has the definitions before it and those of its group. */
  source: Schema.String,
  /** Neighbours with the same number use each other and are defined together. Absent for one that stands by itself. */
  group: Schema.optionalKey(Schema.Number),
  /** Whether instances of the class have private members, which no copy has. Default false. */
  hasPrivates: Schema.optionalKey(Schema.Boolean)
})

/** A function or class that the computation, its setup and its cleanup find by name. */
export type Definition = typeof Definition.Type

/** A module that the computation imports by name. */
export const ImportableModule = Schema.Struct({
  name: Schema.String,
  /** An ES module with everything it imports. */
  code: Schema.String
})

/** A module that the computation imports by name. */
export type ImportableModule = typeof ImportableModule.Type

/** A file that lies in the working directory of the jobs. It travels apart, and only where it is not there yet. */
export const FileEntry = Schema.Struct({
  /** Relative to the working directory, with "/" between names. */
  path: Schema.String,
  sizeBytes: Schema.Number,
  /** Of the content, in hexadecimal. */
  sha256: Schema.String,
  /** Permission bits. */
  mode: Schema.Number
})

/** A file that lies in the working directory of the jobs. It travels apart, and only where it is not there yet. */
export type FileEntry = typeof FileEntry.Type

/** Files of the client, ready to be offered to nodes. */
export interface LocalFiles {
  readonly entries: ReadonlyArray<FileEntry>
  /** Where each of them is on this machine, or its bytes. */
  readonly sources: ReadonlyArray<string | Uint8Array>
}

/** What a computation takes along. */
export const Depends = Schema.Struct({
  /** In the order in which they are defined. Classes are known to the value codec by their place among the classes. */
  definitions: Schema.Array(Definition),
  modules: Schema.Array(ImportableModule),
  files: Schema.Array(FileEntry)
})

/** What a computation takes along. */
export type Depends = typeof Depends.Type

/** What runs on a node beside the jobs. */
export const Lifecycle = Schema.Struct({
  /** Once per node, before its first job. */
  setup: Schema.optionalKey(Code),
  /** Once per slot, before its first job. */
  setupSlot: Schema.optionalKey(Code),
  /** Once per node, after its last job, before its files go. */
  cleanup: Schema.optionalKey(Code),
  /** How long each of them may take. */
  timeoutMillis: Schema.Number
})

/** What runs on a node beside the jobs. */
export type Lifecycle = typeof Lifecycle.Type

/** Where jobs run: in processes of their own, or in threads of one process that share memory. */
export const ExecutorKind = Schema.Literals(["process", "thread"])

/** Where jobs run: in processes of their own, or in threads of one process that share memory. */
export type ExecutorKind = typeof ExecutorKind.Type

/** Jobs at a time per slot, at most. */
export const maxConcurrency = 1000

/** A computation as it travels. What is absent is none, or the default that is said there. */
export const Computation = Schema.Struct({
  /** Unique per cluster: job ids count within it. */
  id: Schema.String,
  /** Name of the function, export or program, for people. */
  name: Schema.String,
  code: Code,
  limits: JobLimits,
  /** Default: never. */
  slotLimits: Schema.optionalKey(SlotLimits),
  depends: Schema.optionalKey(Depends),
  lifecycle: Schema.optionalKey(Lifecycle),
  /** Default "process". */
  executor: Schema.optionalKey(ExecutorKind),
  /** Jobs at a time per slot. Default 1. */
  concurrency: Schema.optionalKey(Schema.Number),
  /** Directory below the client's on the node; absent for a fresh one. */
  destPath: Schema.optionalKey(Schema.String),
  /** Whether the working directory stays when the computation is closed. Default false. */
  keepFiles: Schema.optionalKey(Schema.Boolean)
})

/** A computation as it travels. */
export type Computation = typeof Computation.Type
