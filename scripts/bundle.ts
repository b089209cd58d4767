/**
 * Bundles the programs of the package in place, after `tsc` has written them: one
 * file that is read and compiled instead of some three hundred, and without the
 * parts of the libraries that no program uses. A daemon is ready in a third of the
 * time and takes half of the memory (docs/decisions/0003-bundled-programs.md).
 *
 * Each program is `dist/programs/<name>.js`, a few lines that check the version of
 * Node and then import what is bundled here. A bundle keeps its place two folders
 * below `dist`, since its modules find files such as `dist/slot/main.js` from there.
 */
import { parse } from "acorn"
import { build, type Plugin } from "esbuild"
import { readFile } from "node:fs/promises"
import { createRequire } from "node:module"
import { dirname, join } from "node:path"

const bundles = ["dist/programs/node/NodeMain.js"]

/** Not bundled: native code, or too large to load before it is needed. */
const external = ["esbuild", "msgpackr"]

const require = createRequire(import.meta.url)

const barrels = new Map<string, ReadonlyMap<string, string>>()

/** What an index of effect exports as namespaces: name to module. */
const namespacesOf = async (source: string): Promise<ReadonlyMap<string, string>> => {
  const known = barrels.get(source)
  if (known !== undefined) return known
  const file = require.resolve(source)
  const modules = new Map<string, string>()
  for (const [, name, path] of (await readFile(file, "utf8")).matchAll(/export \* as (\w+) from "(\.\/[\w./]+)"/g)) {
    if (name !== undefined && path !== undefined) modules.set(name, join(dirname(file), path))
  }
  barrels.set(source, modules)
  return modules
}

/** `import { Effect } from "effect"` keeps all of Effect, `import * as Effect` only what is used of it. */
const importDirectly = async (text: string): Promise<string> => {
  let result = text
  const program = parse(text, { ecmaVersion: "latest", sourceType: "module" })
  for (const node of program.body.toReversed()) {
    if (node.type !== "ImportDeclaration" || !/^effect(\/[\w-]+)?$/.test(String(node.source.value))) continue
    const namespaces = await namespacesOf(String(node.source.value))
    const lines = node.specifiers.map((specifier) => {
      if (specifier.type !== "ImportSpecifier") return undefined
      const module = specifier.imported.type === "Identifier" ? namespaces.get(specifier.imported.name) : undefined
      return module === undefined ? undefined : `import * as ${specifier.local.name} from ${JSON.stringify(module)};`
    })
    if (lines.length === 0 || lines.includes(undefined)) continue
    result = result.slice(0, node.start) + lines.join(" ") + result.slice(node.end)
  }
  return result
}

const directImports: Plugin = {
  name: "direct-imports",
  setup: (bundler) => {
    bundler.onLoad({ filter: /\/dist\/.*\.js$/, namespace: "file" }, async ({ path }) => {
      if (path.includes("/node_modules/")) return undefined
      return { contents: await importDirectly(await readFile(path, "utf8")), loader: "js" }
    })
  }
}

for (const file of bundles) {
  await build({
    entryPoints: [file],
    outfile: file,
    allowOverwrite: true,
    bundle: true,
    platform: "node",
    format: "esm",
    target: "node22.19",
    minifyWhitespace: true,
    minifySyntax: true,
    legalComments: "none",
    sourcemap: "linked",
    sourcesContent: false,
    external,
    plugins: [directImports],
    logLevel: "warning"
  })
}
