/** What a cluster sends to its nodes once: the code to run and the limits that hold for every job of it. */
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
  /** Interpreter for a file that is not executable by itself ("node", "python3"); absent for none. */
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

/** A computation as it travels. */
export const Computation = Schema.Struct({
  /** Unique per cluster: job ids count within it. */
  id: Schema.String,
  /** Name of the function, export or program, for people. */
  name: Schema.String,
  code: Code,
  limits: JobLimits
})

/** A computation as it travels. */
export type Computation = typeof Computation.Type
