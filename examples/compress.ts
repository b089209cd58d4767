/**
 * Compresses and hashes every file of a directory tree on all nodes, then once more in this process, and compares.
 * The tree may be larger than memory: files are read as slots have room for them.
 */
import { Computation, createJobCluster } from "dispy/promise"
import { createHash } from "node:crypto"
import { stat } from "node:fs/promises"
import { resolve } from "node:path"
import { parseArgs } from "node:util"
import { filesOf } from "./compress/files.ts"
import { pack, type Packed } from "./compress/pack.ts"
import { main, Problem, UsageError } from "./support/main.ts"
import * as Progress from "./support/progress.ts"

const usage = "node examples/compress.ts DIRECTORY [--node HOST[:PORT] ...]"

/** The largest value that travels is 48 MiB; a little of that is not content. */
const limitBytes = 48 * 1024 * 1024 - 1024

const readArguments = async () => {
  const { positionals, values } = parseArgs({
    allowPositionals: true,
    options: { node: { type: "string", multiple: true } }
  })
  const [directory] = positionals
  if (directory === undefined) throw new UsageError("which directory?")
  if (positionals.length > 1) throw new UsageError(`it takes one directory, not ${positionals.length}`)
  const found = await stat(directory).catch(() => undefined)
  if (found === undefined) throw new Problem(`there is no directory ${resolve(directory)}`)
  if (!found.isDirectory()) throw new Problem(`${resolve(directory)} is not a directory`)
  return { directory: Buffer.from(directory).toString("latin1"), nodes: values.node ?? ["local"] }
}

/** Adds up what became of the files. */
const makeTotals = () => {
  const digest = createHash("sha256")
  const totals = { files: 0, bytesIn: 0, bytesOut: 0, digest: "" }
  return {
    add: (path: string, packed: Packed): void => {
      totals.files++
      totals.bytesIn += packed.bytesIn
      totals.bytesOut += packed.bytesOut
      digest.update(`${path}\0`).update(packed.digestIn).update(packed.digestOut)
    },
    end: () => ({ ...totals, digest: digest.digest("hex") })
  }
}

const table = (rows: ReadonlyArray<ReadonlyArray<string | number>>): string => {
  const texts = rows.map((row) => row.map(String))
  const widths = texts[0]!.map((_, i) => Math.max(...texts.map((row) => row[i]!.length)))
  return texts.map((row) =>
    row.map((cell, i) => i === 0 ? cell.padEnd(widths[i]!) : cell.padStart(widths[i]!)).join("  ")
  )
    .join("\n")
}

await main(usage, async (signal) => {
  const { directory, nodes } = await readArguments()

  await using cluster = await createJobCluster(
    Computation.fromModule<typeof pack>(
      new URL("./compress/pack.ts", import.meta.url),
      "pack"
    ),
    { nodes }
  )

  const onNodes = makeTotals()
  const paths: Array<string> = []
  async function* contents(): AsyncGenerator<Uint8Array> {
    for await (const file of filesOf(directory, limitBytes)) {
      if ("skipped" in file) {
        console.error(`skipped ${file.path}: ${file.skipped}`)
        continue
      }
      paths.push(file.path)
      yield file.content
    }
  }
  const startedAt = performance.now()
  {
    using progress = Progress.start("On the nodes", "files")
    // One file per message: how large the next one is, nobody knows.
    for await (const packed of cluster.map(contents(), { chunkSize: 1, signal })) {
      onNodes.add(paths.shift()!, packed)
      progress.advance(1)
    }
  }
  const nodesMillis = performance.now() - startedAt

  const inProcess = makeTotals()
  const restartedAt = performance.now()
  {
    using progress = Progress.start("In this process", "files")
    for await (const file of filesOf(directory, limitBytes)) {
      signal.throwIfAborted()
      if ("content" in file) inProcess.add(file.path, pack(file.content))
      progress.advance(1)
    }
  }
  const processMillis = performance.now() - restartedAt

  const [a, b] = [onNodes.end(), inProcess.end()]
  const row = (title: string, totals: typeof a, millis: number) => [
    title,
    totals.files,
    totals.bytesIn,
    totals.bytesOut,
    (millis / 1000).toFixed(2),
    totals.digest.slice(0, 16)
  ]
  console.log(table([
    ["", "files", "bytes in", "bytes out", "seconds", "combined SHA-256"],
    row("on the nodes", a, nodesMillis),
    row("in this process", b, processMillis)
  ]))
  const isEqual = a.digest === b.digest && a.files === b.files && a.bytesIn === b.bytesIn && a.bytesOut === b.bytesOut
  console.log(
    isEqual
      ? "The totals agree."
      : "The totals differ! Did files change meanwhile, or do nodes run another version of Node?"
  )
  return isEqual ? 0 : 1
})
