/**
 * Bundles the programs of the package, after `tsc` has written them one file per
 * module: one file that is read and compiled instead of some three hundred, and
 * without the parts of the libraries that no program uses. A daemon is ready in a
 * third of the time and takes half of the memory
 * (docs/decisions/0003-bundled-programs.md).
 *
 * Each program is `dist/programs/<name>.js`, a few lines that check the version of
 * Node and then import what is bundled here. A bundle takes the place of its first
 * module, two folders below `dist`, since the modules in it find files such as
 * `dist/slot/main.js` from there.
 */
import { parse } from "acorn"
import { build, type Plugin, transform } from "esbuild"
import { readFile } from "node:fs/promises"
import { createRequire } from "node:module"
import { dirname, join } from "node:path"

/** First module of each bundle, below `src` and below `dist`. */
const bundles = ["programs/cli/CliMain", "programs/node/NodeMain", "programs/relay/RelayMain"]

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
    const imports = node.specifiers.map((specifier) => {
      if (specifier.type !== "ImportSpecifier" || specifier.imported.type !== "Identifier") return undefined
      const module = namespaces.get(specifier.imported.name)
      return module === undefined ? undefined : `import * as ${specifier.local.name} from ${JSON.stringify(module)};`
    })
    if (imports.length === 0 || imports.includes(undefined)) continue
    // As many lines as before, for the source map.
    const lines = "\n".repeat(text.slice(node.start, node.end).split("\n").length - 1)
    result = result.slice(0, node.start) + imports.join(" ") + lines + result.slice(node.end)
  }
  return result
}

const directImports: Plugin = {
  name: "direct-imports",
  setup: (bundler) => {
    bundler.onLoad({ filter: /\/src\/.*\.ts$/ }, async ({ path }) => {
      if (path.includes("/node_modules/")) return undefined
      const { code } = await transform(await readFile(path, "utf8"), {
        loader: "ts",
        sourcemap: "inline",
        sourcefile: path,
        tsconfigRaw: { compilerOptions: { verbatimModuleSyntax: true } }
      })
      return { contents: await importDirectly(code), loader: "js" }
    })
  }
}

for (const name of bundles) {
  await build({
    entryPoints: [`src/${name}.ts`],
    outfile: `dist/${name}.js`,
    bundle: true,
    platform: "node",
    format: "esm",
    target: "node22.19",
    minifyWhitespace: true,
    minifySyntax: true,
    legalComments: "none",
    sourcemap: "linked",
    sourcesContent: false,
    // Native code, and too large to load before it is needed.
    external: ["esbuild"],
    plugins: [directImports],
    logLevel: "warning"
  })
}
