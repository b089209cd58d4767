/** README.md and the pages for users are true: every snippet runs and prints what it says, every table names what there is. */
import { execFile } from "node:child_process"
import { mkdir, mkdtemp, readdir, readFile, rm, symlink, writeFile } from "node:fs/promises"
import { tmpdir } from "node:os"
import { dirname, join } from "node:path"
import { fileURLToPath } from "node:url"
import { promisify } from "node:util"
import { afterAll, beforeAll, describe, expect, it } from "vitest"
import { createJobCluster } from "../../src/promise.ts"
import * as Dispy from "../../src/promise.ts"

const run = promisify(execFile)
const root = fileURLToPath(new URL("../..", import.meta.url))
const pages = ["README.md", "docs/guide.md", "docs/programs.md", "docs/reference.md"]
const texts = await Promise.all(pages.map((page) => readFile(join(root, page), "utf8")))

interface Snippet {
  /** Where it is, for people. */
  readonly title: string
  readonly code: string
  /** The block of text that follows it, if one does. */
  readonly output: string | undefined
}

/** TypeScript blocks in order, each with the text block that comes next to it. */
const snippetsOf = (page: string, text: string): ReadonlyArray<Snippet> =>
  [...text.matchAll(/^```ts\n([\s\S]*?)^```\n(?:\n```text\n([\s\S]*?)^```\n)?/gm)].map(([, code, output]) => ({
    title: `${page}, line ${text.slice(0, text.indexOf(code!)).split("\n").length}`,
    code: code!,
    output
  }))

const snippets = pages.flatMap((page, i) => snippetsOf(page, texts[i]!))

/** A snippet that begins with its file's name is there for the others to import. */
const fileOf = ({ code }: Snippet): string | undefined => /^\/\/ (\S+\.ts)\n/.exec(code)?.[1]

// A user's project: dispy and effect are installed, everything else is the snippet's own.
let project = ""

beforeAll(async () => {
  project = await mkdtemp(join(tmpdir(), "dispy-readme-"))
  await writeFile(join(project, "package.json"), JSON.stringify({ type: "module", private: true }))
  const installed = [
    ["dispy", root],
    ...["effect", "@effect/platform-node", "@types/node", "undici-types"].map((name) =>
      [name, join(root, "node_modules", name)] as const
    )
  ] as const
  for (const [name, target] of installed) {
    const link = join(project, "node_modules", name)
    await mkdir(dirname(link), { recursive: true })
    await symlink(target, link)
  }
  for (const [i, snippet] of snippets.entries()) {
    await writeFile(join(project, fileOf(snippet) ?? `snippet-${i}.ts`), snippet.code)
  }
})

afterAll(() => rm(project, { recursive: true, force: true }))

describe("a snippet", () => {
  for (const [i, snippet] of snippets.entries()) {
    const { output, title } = snippet
    if (fileOf(snippet) !== undefined) continue
    it(`runs and prints what it says: ${title}`, async () => {
      const { stderr, stdout } = await run(process.execPath, [`snippet-${i}.ts`], { cwd: project, timeout: 100_000 })
      if (output !== undefined) expect(stdout).toBe(output)
      expect(stderr.replace(/^.*going on without node (alpha\.example|192\.0\.2\.7).*\n/gm, "")).toBe("")
    })
  }

  it("has the right types, also those of the other pages", async () => {
    for (const page of await readdir(join(root, "docs"))) {
      if (!page.endsWith(".md") || pages.includes(`docs/${page}`)) continue
      for (const [i, { code }] of snippetsOf(page, await readFile(join(root, "docs", page), "utf8")).entries()) {
        await writeFile(join(project, `${page}-${i}.ts`), code)
      }
    }
    const compilerOptions = {
      strict: true,
      skipLibCheck: true,
      noEmit: true,
      allowImportingTsExtensions: true,
      verbatimModuleSyntax: true,
      module: "NodeNext",
      target: "ES2024",
      lib: ["ES2024", "ESNext.Disposable"],
      types: ["node"]
    }
    await writeFile(join(project, "tsconfig.json"), JSON.stringify({ compilerOptions }))
    const { stdout } = await run(join(root, "node_modules/.bin/tsc"), ["-p", project]).catch((failure) => failure)
    expect(stdout).toBe("")
  })

  it("is the first example, word by word", async () => {
    const example = await readFile(join(root, "examples/quickstart.ts"), "utf8")
    expect(example.replace(/^\/\*\*.*\*\/\n/, "")).toBe(snippets[0]!.code)
  })
})

/** First cells of the table rows of a section, in the order of the page. */
const firstCells = (text: string): ReadonlyArray<string> =>
  [...text.matchAll(/^\| (.+?) +\|/gm)].map(([, cell]) => cell!).filter((cell) => cell.includes("`"))

const section = (title: string): string => texts.join("\n").split(`## ${title}\n`)[1]!.split(/^#{1,2} /m)[0]!

const names = (cells: ReadonlyArray<string>, pattern: RegExp): ReadonlyArray<string> =>
  cells.flatMap((cell) => [...cell.matchAll(pattern)].map(([, name]) => name!))

describe("a table", () => {
  it("has the options of a cluster, all of them", async () => {
    const error = await createJobCluster(() => 1, { nope: 1 } as object).catch((cause: Error) => cause)
    const known = /options of a cluster are (.*)$/.exec((error as Error).message)![1]!.split(", ")
    const [optionTable] = section("Options").split("| method of a cluster")
    expect(names(firstCells(optionTable!), /^`(\w+)`$/g).toSorted()).toEqual(
      [...known, "callback", "clusterStatus", "logLevel"].toSorted()
    )
  })

  it.each([
    ["dispynode", "dispynode"],
    ["dispynetrelay", "Other networks"]
  ])("has the options of %s, all of them", async (program, title) => {
    const { stdout } = await run(process.execPath, [join(root, `dist/programs/${program}.js`), "--help"])
    const flags = [...stdout.matchAll(/^ +(--[\w-]+)/gm)].map(([, flag]) => flag!)
    expect(names(firstCells(section(title)), /(--[\w-]+)/g).toSorted()).toEqual(flags.toSorted())
  })

  it("has the errors that jobs, submits and clusters end with, all of them", () => {
    const errors = Object.values(Dispy).flatMap((value) =>
      typeof value === "function" && value.prototype instanceof Error ? [value.name] : []
    )
    // These tell in the state of a node why it is not used, or are the node's own.
    const ofNodes = [
      "CannotStart",
      "MalformedMessage",
      "NodeBusy",
      "NodeUnreachable",
      "NothingKept",
      "NotLeased",
      "VersionMismatch",
      "WaitTimedOut"
    ]
    const listed = names(firstCells(section("Errors")), /^`(\w+)`$/g)
    expect([...new Set(listed)].toSorted()).toEqual(errors.filter((name) => !ofNodes.includes(name)).toSorted())
  })

  it("has the dependencies, all of them", async () => {
    const { dependencies } = JSON.parse(await readFile(join(root, "package.json"), "utf8"))
    const [table] = section("Requirements and dependencies").split("| Effect 3")
    expect(names(firstCells(table!), /^`(\S+)`$/g).toSorted()).toEqual(Object.keys(dependencies).toSorted())
  })

  it("names modules of effect that there are", async () => {
    const table = section("Requirements and dependencies").split("| Effect 3")[1]!
    const modules = new Set([...table.matchAll(/`(effect\/[\w/]+)`/g)].map(([, name]) => name!))
    expect(modules.size).toBeGreaterThan(8)
    for (const name of modules) await expect(import(name)).resolves.toBeTypeOf("object")
  })
})
