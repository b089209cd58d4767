/** What can be wrong with a computation itself: found on the client, before anything is sent. */
import { Schema } from "effect"
import { nearest } from "./Suggestion.ts"
import type { FileTooLarge } from "./TransferError.ts"

/** Something else than a function, a module's export or a program was to be run. */
export class NotAFunction extends Schema.TaggedError<NotAFunction>()("NotAFunction", {
  /** What it was: "an object", "undefined" … */
  received: Schema.String
}) {
  override get message(): string {
    return `a computation is a function, Computation.fromModule(…) or Computation.program(…), not ${this.received}`
  }
}

/** A function of a kind that cannot be shipped as source text. */
export class UnsupportedFunction extends Schema.TaggedError<UnsupportedFunction>()("UnsupportedFunction", {
  /** Name of the function. */
  computation: Schema.String,
  /** A clause that continues "… cannot be sent: ", with the way out. */
  reason: Schema.String
}) {
  override get message(): string {
    return `function ${this.computation} cannot be sent: ${this.reason}`
  }
}

/** A variable of the function's surroundings, and where the function uses it first. */
export const FreeVariable = Schema.Struct({
  name: Schema.String,
  /** Line in the function's text, from 1. */
  line: Schema.Number,
  /** Column in the function's text, from 1. */
  column: Schema.Number
})

/** A variable of the function's surroundings, and where the function uses it first. */
export type FreeVariable = typeof FreeVariable.Type

/** A function uses variables from outside itself, which nodes do not have. */
export class FreeVariables extends Schema.TaggedError<FreeVariables>()("FreeVariables", {
  /** Name of the function. */
  computation: Schema.String,
  /** What it is. Default "function". */
  kind: Schema.optionalKey(Schema.Literals(["function", "class"])),
  variables: Schema.Array(FreeVariable)
}) {
  override get message(): string {
    const kind = this.kind ?? "function"
    const names = this.variables.map((variable) => variable.name)
    const places = this.variables.map(({ column, line, name }) => `${name} (line ${line}, column ${column})`)
    const many = names.length > 1
    const hints = names.map(hintFor).filter((hint) => hint !== undefined)
    return [
      `${kind} ${this.computation} uses ${
        many ? "variables" : "a variable"
      } from outside itself, which nodes do not have: ` +
      `${places.join(", ")}.`,
      ...(kind === "class"
        ? [
          `Pass ${many ? "them" : "it"} to its methods as arguments; or, if functions or classes, list them in depends.`
        ]
        : [
          `Pass ${many ? "them as arguments" : "it as an argument"};`,
          `or send ${
            many ? "their values" : "its value"
          } along: Computation.fromFunction(${this.computation}, { captures: ` +
          `{ ${names.filter(isName).join(", ") || "…"} } });`,
          "or, if functions or classes, list them in the cluster's depends;",
          `or move the function to a module of its own, whose imports are sent too: ` +
          `Computation.fromModule(new URL("./${this.computation}.ts", import.meta.url), "${this.computation}").`
        ]),
      ...new Set(hints)
    ].join(" ")
  }
}

const isName = (name: string): boolean => /^[\p{ID_Start}$_][\p{ID_Continue}$]*$/u.test(name) && name !== "arguments"

const hintFor = (name: string): string | undefined => {
  if (name === "require" || name === "module" || name === "exports") {
    return `There is no ${name} on a node: use await import("node:fs") inside the function.`
  }
  if (name === "__dirname" || name === "__filename") {
    return `There is no ${name} on a node: process.cwd() is the computation's directory there.`
  }
  if (name === "a default import" || /^__vi(te_ssr)?_import_\d+__$/.test(name)) {
    return "What is imported at the top of a file does not come along: use await import(…) inside the function."
  }
  if (name === "arguments") return "An arrow function has no arguments of its own: write (...args) instead."
  if (name.startsWith("cov_")) {
    return `${name} is the counter of a coverage tool: exclude the file from its instrumentation, or use V8's coverage.`
  }
  if (/^__\w|^_(async|object|class|define|ts|to|instanceof|using|await)_?\w/i.test(name)) {
    return `${name} looks like a helper of your compiler: let it target ES2022 or newer.`
  }
  return undefined
}

/** The module of a computation does not exist. */
export class ModuleNotFound extends Schema.TaggedError<ModuleNotFound>()("ModuleNotFound", {
  module: Schema.String
}) {
  override get message(): string {
    return `there is no module ${this.module}; give new URL("./file.ts", import.meta.url), ` +
      "a path from the current directory, or import.meta.resolve(\"name\") for a package"
  }
}

/** The module does not export what the computation names. */
export class ExportNotFound extends Schema.TaggedError<ExportNotFound>()("ExportNotFound", {
  module: Schema.String,
  exportName: Schema.String,
  available: Schema.Array(Schema.String)
}) {
  override get message(): string {
    const { available, exportName, module } = this
    const meant = nearest(exportName, available)
    const missing = exportName === "default" ? "no default export" : `no export ${exportName}`
    return `module ${module} has ${missing}${meant === undefined ? "." : `; did you mean ${meant}?`}` +
      ` It exports ${available.length === 0 ? "nothing" : available.join(", ")}`
  }
}

/** The module exports something under that name which is no function. */
export class ExportNotFunction extends Schema.TaggedError<ExportNotFunction>()("ExportNotFunction", {
  module: Schema.String,
  exportName: Schema.String,
  /** What it is: "a string", "a class" … */
  received: Schema.String
}) {
  override get message(): string {
    return `export ${this.exportName} of module ${this.module} is ${this.received}; a computation is a function`
  }
}

/** One complaint of the bundler. */
export const BundleProblem = Schema.Struct({
  text: Schema.String,
  file: Schema.optionalKey(Schema.String),
  line: Schema.optionalKey(Schema.Number),
  /** From 1. */
  column: Schema.optionalKey(Schema.Number)
})

/** One complaint of the bundler. */
export type BundleProblem = typeof BundleProblem.Type

/** The module, or something that it imports, cannot be bundled. */
export class BundleFailed extends Schema.TaggedError<BundleFailed>()("BundleFailed", {
  module: Schema.String,
  errors: Schema.Array(BundleProblem)
}) {
  override get message(): string {
    const shown = this.errors.slice(0, 10).map(({ column, file, line, text }) =>
      `  ${file === undefined ? "" : `${file}:${line ?? 1}:${column ?? 1}: `}${text}`
    )
    if (this.errors.length > 10) shown.push(`  … and ${this.errors.length - 10} more`)
    return `module ${this.module} cannot be bundled:\n${shown.join("\n")}`
  }
}

/** The module needs a native addon, which cannot be part of a bundle. */
export class NativeAddon extends Schema.TaggedError<NativeAddon>()("NativeAddon", {
  module: Schema.String,
  /** The addon as it is imported, or its file. */
  file: Schema.String
}) {
  override get message(): string {
    return `module ${this.module} imports the native addon ${this.file}, which is built for one machine and cannot be ` +
      "sent; install its package on the nodes and import it by the package's name"
  }
}

/** A program to be sent does not exist, or is no file. */
export class ProgramNotFound extends Schema.TaggedError<ProgramNotFound>()("ProgramNotFound", {
  program: Schema.String,
  /** The paths that were tried. */
  searched: Schema.Array(Schema.String)
}) {
  override get message(): string {
    const { program, searched } = this
    return `there is no program ${program === "" ? `""` : program}` +
      `${searched.length === 0 ? "" : ` (looked at ${searched.join(", ")})`}; ` +
      "a name with a slash is a file that is sent, one without is a command that the nodes have on their PATH"
  }
}

/** A file to be sent as a program is neither executable nor a script. */
export class NotExecutable extends Schema.TaggedError<NotExecutable>()("NotExecutable", {
  program: Schema.String
}) {
  override get message(): string {
    return `${this.program} is not executable: chmod +x it, start it with a #! line, ` +
      "or give it the ending of a script (.js, .mjs, .cjs, .ts, .py)"
  }
}

/** A value that goes along with the computation cannot be copied to another process. */
export class NotCloneable extends Schema.TaggedError<NotCloneable>()("NotCloneable", {
  /** What it belongs to: "captures of render" … */
  what: Schema.String,
  /** The way to it: "value.user.onClick". */
  path: Schema.String,
  /** What it is: "function", "Promise" … */
  type: Schema.String
}) {
  override get message(): string {
    return `${this.what} cannot be sent: ${this.path} is a ${this.type}, and only structured-cloneable values can be sent`
  }
}

/** An entry of `depends` that cannot be taken along. */
export class InvalidDepend extends Schema.TaggedError<InvalidDepend>()("InvalidDepend", {
  /** What it is: "class Point", "an anonymous function", "42" … */
  entry: Schema.String,
  /** A clause that continues "… cannot be in depends: ", with the way out. */
  reason: Schema.String
}) {
  override get message(): string {
    return `${this.entry} cannot be in depends: ${this.reason}`
  }
}

/** The computation is larger than what a node takes in one message. */
export class ComputationTooLarge extends Schema.TaggedError<ComputationTooLarge>()("ComputationTooLarge", {
  computation: Schema.String,
  sizeBytes: Schema.Number,
  limitBytes: Schema.Number
}) {
  override get message(): string {
    return `${this.computation} cannot be sent: its code and captures take ${this.sizeBytes} bytes, more than the` +
      ` ${this.limitBytes} that a node takes; pass large data as arguments, or in a file that the nodes can read`
  }
}

/** A file or directory that the computation is to take along cannot be sent. */
export class FileNotUsable extends Schema.TaggedError<FileNotUsable>()("FileNotUsable", {
  file: Schema.String,
  /** A clause that continues "… cannot be sent: ". */
  reason: Schema.String
}) {
  override get message(): string {
    return `${this.file} cannot be sent to the nodes: ${this.reason}`
  }
}

/** Two files that the computation is to take along would be one in the working directory. */
export class FilesCollide extends Schema.TaggedError<FilesCollide>()("FilesCollide", {
  files: Schema.Array(Schema.String),
  /** Where both would be. */
  place: Schema.String
}) {
  override get message(): string {
    return `${this.files.join(" and ")} cannot be sent together: both would be ${this.place} in the working directory` +
      " of the jobs (files below the current directory keep their path, others only their name)"
  }
}

/** The module of the computation is the program that creates the cluster. */
export class ModuleIsProgram
  extends Schema.TaggedError<ModuleIsProgram>()("ModuleIsProgram", { module: Schema.String })
{
  override get message(): string {
    return `module ${this.module} is the program itself: a node that loads it would run the program again; ` +
      "move the function to a module of its own"
  }
}

/** Everything that can be wrong with a computation. */
export type ComputationError =
  | NotAFunction
  | UnsupportedFunction
  | FreeVariables
  | ModuleNotFound
  | ExportNotFound
  | ExportNotFunction
  | BundleFailed
  | NativeAddon
  | ProgramNotFound
  | NotExecutable
  | NotCloneable
  | InvalidDepend
  | ComputationTooLarge
  | ModuleIsProgram
  | FileNotUsable
  | FilesCollide
  | FileTooLarge
