/**
 * Keeps npm packages with native parts out of a bundle. Their machine code belongs to one kind of machine, and they
 * look for it beside their own files: nodes have them installed, or do without.
 */
import type { OnResolveArgs, OnResolveResult, Plugin, PluginBuild } from "esbuild"
import * as fs from "node:fs/promises"
import { isBuiltin } from "node:module"
import * as path from "node:path"

export interface NativePackages {
  readonly plugin: Plugin
  /** Addons (`.node` files) that the user's own code imports by their file. */
  readonly addons: ReadonlyArray<string>
}

export const make = (): NativePackages => {
  const addons: Array<string> = []
  const known = new Map<string, Promise<boolean>>()

  const isNative = (folder: string): Promise<boolean> => {
    let answer = known.get(folder)
    if (answer === undefined) known.set(folder, answer = readsAsNative(folder))
    return answer
  }

  const onPackage = async (build: PluginBuild, args: OnResolveArgs): Promise<OnResolveResult | undefined> => {
    if (args.pluginData === asked || args.kind === "entry-point" || isBuiltin(args.path)) return undefined
    const { importer, kind, resolveDir } = args
    const found = await build.resolve(args.path, { importer, kind, resolveDir, pluginData: asked })
    const folder = packageFolder(found.path)
    if (found.errors.length > 0 || folder === undefined || !await isNative(folder)) return undefined
    return { path: args.path, external: true }
  }

  const onAddon = (args: OnResolveArgs): OnResolveResult => {
    const isOwn = !args.importer.split(path.sep).includes("node_modules")
    if (isOwn) addons.push(args.path)
    return { path: args.path, external: true }
  }

  return {
    addons,
    plugin: {
      name: "dispy-native-packages",
      setup: (build) => {
        build.onResolve({ filter: /\.node$/ }, onAddon)
        build.onResolve(
          { filter: /^[^./#]/ },
          (args) => path.isAbsolute(args.path) ? undefined : onPackage(build, args)
        )
      }
    }
  }
}

/** Marks our own question, which must not be answered with itself. */
const asked = Symbol("asked")

/** `/a/node_modules/@b/c` of `/a/node_modules/@b/c/lib/d.js`. */
const packageFolder = (file: string): string | undefined => {
  const parts = file.split(path.sep)
  const at = parts.lastIndexOf("node_modules")
  if (at < 0 || at + 1 >= parts.length) return undefined
  return parts.slice(0, at + (parts[at + 1]!.startsWith("@") ? 3 : 2)).join(path.sep)
}

const loaders = new Set([
  "@mapbox/node-pre-gyp",
  "bindings",
  "node-gyp-build",
  "node-gyp-build-optional-packages",
  "node-pre-gyp",
  "prebuild-install"
])

interface Manifest {
  readonly main?: unknown
  readonly gypfile?: unknown
  readonly binary?: unknown
  readonly napi?: unknown
  readonly dependencies?: Record<string, unknown>
  readonly optionalDependencies?: Record<string, unknown>
}

const readsAsNative = async (folder: string): Promise<boolean> => {
  const read = (name: string) => fs.readFile(path.join(folder, name), "utf8").catch(() => undefined)
  const text = await read("package.json")
  // Without a manifest there is nothing to go by; a broken one is esbuild's to report.
  if (text === undefined || !text.trimStart().startsWith("{")) return false
  const { binary, dependencies, gypfile, main, napi, optionalDependencies }: Manifest = parse(text)
  return gypfile === true || binary !== undefined || napi !== undefined || String(main).endsWith(".node") ||
    Object.keys(dependencies ?? {}).some((name) => loaders.has(name)) ||
    Object.keys(optionalDependencies ?? {}).some((name) => /[-/](linux|darwin|win32)\b/.test(name)) ||
    await read("binding.gyp") !== undefined
}

const parse = (text: string): Manifest => {
  try {
    return JSON.parse(text) as Manifest
  } catch {
    return {}
  }
}
