/**
 * Bundles the module of a computation with everything it imports into one text that a slot can import: local files,
 * npm packages, TypeScript, CommonJS, JSON. The module is never run on the client.
 *
 * esbuild is loaded when it is first needed. Its helper process neither keeps a program alive nor outlives it, and is
 * not stopped here: it may serve other users of esbuild in the same program.
 */
import * as acorn from "acorn"
import { Effect } from "effect"
import type { BuildResult, Message, Metafile, OutputFile } from "esbuild"
import { createHash } from "node:crypto"
import { existsSync } from "node:fs"
import { isBuiltin } from "node:module"
import * as path from "node:path"
import { fileURLToPath, pathToFileURL } from "node:url"
import {
  BundleFailed,
  type BundleProblem,
  ExportNotFound,
  ExportNotFunction,
  ModuleNotFound,
  NativeAddon
} from "../../domain/ComputationError.ts"
import * as NativePackages from "./NativePackages.ts"

export interface Bundle {
  /** An ES module that has the export. */
  readonly code: string
  /** The code ends with its source map, which contains the sources. */
  readonly sourceMapInline: true
  /** Packages that are not in the bundle, since they have native parts: nodes must have them where they are needed. */
  readonly externals: ReadonlyArray<string>
  /** The files in the bundle, relative to the current directory. */
  readonly inputs: ReadonlyArray<string>
  /** Of the code, in hexadecimal. */
  readonly sha256: string
}

export interface Input {
  /** A `file:` URL, or a path from the current directory. */
  readonly module: URL | string
  /** `"default"` for the default export. */
  readonly exportName: string
  /** Names of classes: those that the module exports are in the bundle's export `__dispyClasses`. */
  readonly classNames?: ReadonlyArray<string>
  /** Names of modules that the nodes have. */
  readonly importable?: ReadonlyArray<string>
}

export type BundleError = ModuleNotFound | ExportNotFound | ExportNotFunction | BundleFailed | NativeAddon

type Output = BuildResult & { readonly metafile: Metafile; readonly outputFiles: Array<OutputFile> }

/** The module that is built: it passes on one export, so that what only others need is left out. */
const entryName = "dispy-entry.mjs"

/** CommonJS code in the bundle needs what ES modules lack. Other names than the real ones, as users declare those. */
const banner = `import { createRequire as __dispyCreateRequire } from "node:module"; ` +
  `const require = __dispyCreateRequire(import.meta.url), ` +
  `__dispyFilename = import.meta.filename, __dispyDirname = import.meta.dirname;`

/** Bundles one export of a module. */
export const bundle = Effect.fn("ModuleBundle.bundle")(function*(
  { classNames = [], exportName, importable = [], module }: Input
): Effect.fn.Return<Bundle, BundleError> {
  const file = fileOf(module)
  if (file === undefined) return yield* new ModuleNotFound({ module: String(module) })
  const native = NativePackages.make()
  const from = JSON.stringify(file)
  const classes = classNames.map((name) => `${JSON.stringify(name)}: dispyAll[${JSON.stringify(name)}]`).join(", ")
  const entry = `export { ${JSON.stringify(exportName)} } from ${from}` +
    (classes === "" ? "" : `\nimport * as dispyAll from ${from}\nexport const __dispyClasses = { ${classes} }`)
  const built = yield* Effect.tryPromise({
    try: () => build(file, entry, native, importable),
    catch: (cause) => messagesOf(cause)
  }).pipe(Effect.catch((messages) => explain(file, exportName, native, messages)))

  const result = yield* bundleOf(file, native, built)
  const received = otherThanFunction(result.code, exportName)
  if (received !== undefined) return yield* new ExportNotFunction({ module: file, exportName, received })
  return result
})

/** Whether there is such a file now. */
export const isThere = (module: URL | string): boolean => {
  const file = fileOf(module)
  return file !== undefined && existsSync(file)
}

/** Bundles a module with all its exports. */
export const bundleAll = Effect.fn("ModuleBundle.bundleAll")(function*(
  module: URL | string
): Effect.fn.Return<Bundle, BundleError> {
  const file = fileOf(module)
  if (file === undefined) return yield* new ModuleNotFound({ module: String(module) })
  const native = NativePackages.make()
  const built = yield* Effect.tryPromise({
    try: () => build(file, undefined, native, []),
    catch: (cause) => messagesOf(cause)
  }).pipe(
    Effect.catch((messages): Effect.Effect<never, BundleError> => {
      const [addon] = native.addons
      if (addon !== undefined) return Effect.fail(new NativeAddon({ module: file, file: addon }))
      const isKnown = !messages.some(({ location, text }) => location === null && text.includes("Could not resolve"))
      return Effect.fail(
        isKnown
          ? new BundleFailed({ module: file, errors: messages.map(problemOf) })
          : new ModuleNotFound({ module: file })
      )
    })
  )
  return yield* bundleOf(file, native, built)
})

const bundleOf = Effect.fnUntraced(function*(
  file: string,
  native: NativePackages.NativePackages,
  built: Output
): Effect.fn.Return<Bundle, NativeAddon> {
  const [addon] = native.addons
  if (addon !== undefined) return yield* new NativeAddon({ module: file, file: addon })
  const code = built.outputFiles[0]!.text
  const imports = Object.values(built.metafile.outputs).flatMap((output) => output.imports)
  return {
    code,
    sourceMapInline: true,
    externals: Array.from(new Set(imports.map((item) => item.path).filter((item) => !isBuiltin(item)))),
    inputs: Object.keys(built.metafile.inputs).filter((input) => !input.endsWith(entryName)),
    sha256: createHash("sha256").update(code).digest("hex")
  }
})

const fileOf = (module: URL | string): string | undefined => {
  const text = String(module)
  if (text.startsWith("file:")) return URL.canParse(text) ? fileURLToPath(text) : undefined
  return module instanceof URL || text === "" ? undefined : path.resolve(text)
}

/** Builds the entry, or for want of one the file itself. */
const build = async (
  file: string,
  entry: string | undefined,
  native: NativePackages.NativePackages,
  importable: ReadonlyArray<string>
): Promise<Output> => {
  const esbuild = await import("esbuild")
  const folder = path.dirname(file)
  return esbuild.build({
    ...(entry === undefined
      ? { entryPoints: [file] }
      : { stdin: { contents: entry, resolveDir: folder, sourcefile: entryName, loader: "js" as const } }),
    bundle: true,
    write: false,
    metafile: true,
    absWorkingDir: process.cwd(),
    // Stacks then name the files as they are on the client.
    outfile: path.join(folder, "dispy-bundle.mjs"),
    sourceRoot: pathToFileURL(`${folder}${path.sep}`).href,
    sourcemap: "inline",
    sourcesContent: true,
    format: "esm",
    platform: "node",
    target: "node22",
    external: [...importable],
    charset: "utf8",
    legalComments: "none",
    logLevel: "silent",
    banner: { js: banner },
    define: { __filename: "__dispyFilename", __dirname: "__dispyDirname" },
    plugins: [native.plugin]
  })
}

const messagesOf = (cause: unknown): ReadonlyArray<Message> => {
  const { errors, message } = cause as { readonly errors?: ReadonlyArray<Message>; readonly message?: string }
  if (errors !== undefined && errors.length > 0) return errors
  return [{ id: "", pluginName: "", text: message ?? String(cause), location: null, notes: [], detail: cause }]
}

/** What is wrong with our entry is wrong with the user's choice of module or export. */
const explain = Effect.fnUntraced(function*(
  file: string,
  exportName: string,
  native: NativePackages.NativePackages,
  messages: ReadonlyArray<Message>
): Effect.fn.Return<never, BundleError> {
  const [addon] = native.addons
  if (addon !== undefined) return yield* new NativeAddon({ module: file, file: addon })
  const ours = messages.find(({ location }) => location?.file.endsWith(entryName))
  if (ours === undefined) return yield* new BundleFailed({ module: file, errors: messages.map(problemOf) })
  if (!ours.text.startsWith("No matching export")) return yield* new ModuleNotFound({ module: file })
  const { metafile } = yield* Effect.tryPromise({
    try: () => build(file, undefined, native, []),
    catch: (cause) => new BundleFailed({ module: file, errors: messagesOf(cause).map(problemOf) })
  })
  const available = Object.values(metafile.outputs).flatMap((output) => output.exports)
  return yield* new ExportNotFound({ module: file, exportName, available })
})

const problemOf = ({ location, text }: Message): BundleProblem =>
  location === null ? { text } : { text, file: location.file, line: location.line, column: location.column + 1 }

/** What the export is, when it plainly is no function; undefined where only running the module could tell. */
const otherThanFunction = (code: string, exportName: string): string | undefined => {
  const { body } = acorn.parse(code, { ecmaVersion: "latest", sourceType: "module" })
  const nameOf = (node: acorn.Identifier | acorn.Literal) => node.type === "Identifier" ? node.name : node.value
  const exported = body.flatMap((node) => node.type === "ExportNamedDeclaration" ? node.specifiers : [])
    .find((specifier) => nameOf(specifier.exported) === exportName)
  if (exported === undefined) return undefined
  const local = nameOf(exported.local)
  for (const node of body) {
    if (node.type === "ClassDeclaration" && node.id.name === local) return "a class"
    if (node.type !== "VariableDeclaration") continue
    const declared = node.declarations.find(({ id }) => id.type === "Identifier" && id.name === local)
    if (declared?.init) return describe(declared.init)
  }
  return undefined
}

const describe = (value: acorn.Expression): string | undefined => {
  switch (value.type) {
    case "Literal":
      return value.value === null ? "null" : value.regex ? "a regular expression" : `a ${typeof value.value}`
    case "TemplateLiteral":
      return "a string"
    case "ArrayExpression":
      return "an array"
    case "ObjectExpression":
      return "an object"
    case "ClassExpression":
      return "a class"
    default:
      return undefined
  }
}
