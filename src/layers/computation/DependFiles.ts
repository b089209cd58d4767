/**
 * Files and directories that a computation takes along: found, checked and hashed
 * before anything is sent. A path below the current directory keeps its place, any
 * other goes to the root of the working directory under its last name.
 */
import { Effect } from "effect"
import { createHash } from "node:crypto"
import { statSync } from "node:fs"
import * as fs from "node:fs/promises"
import * as path from "node:path"
import { fileURLToPath } from "node:url"
import type { FileEntry, LocalFiles } from "../../domain/Computation.ts"
import { FileNotUsable, FilesCollide } from "../../domain/ComputationError.ts"
import { messageOf } from "../../domain/Thrown.ts"
import * as RelativePath from "../../domain/transfer/RelativePath.ts"
import { FileTooLarge } from "../../domain/TransferError.ts"
import * as Content from "../bulk/Content.ts"

/** A path of this machine, or a `file:` URL. */
export type PathInput = string | URL

/** A file that is made here. */
export interface MadeFile {
  /** Where it lies in the working directory. */
  readonly target: string
  readonly bytes: Uint8Array
}

/** What can be wrong with them. */
export type DependFilesError = FileNotUsable | FilesCollide | FileTooLarge

interface Found {
  readonly target: string
  readonly source: string
}

/** Hashes of files that were not changed since, by what tells that. */
const hashes = new Map<string, string>()
const maxHashes = 100_000

/** Files that are hashed at the same time. */
const concurrency = 8

const unusable = (file: string, reason: string) => new FileNotUsable({ file, reason })

const reasonOf = (error: unknown): string => {
  switch ((error as NodeJS.ErrnoException | undefined)?.code) {
    case "ENOENT":
    case "ENOTDIR":
      return "there is no such file or directory"
    case "EACCES":
    case "EPERM":
      return "this user may not read it"
    case "ELOOP":
      return "it is a link that leads in a circle"
    default:
      return messageOf(error)
  }
}

/** The path that an input means, absolute. */
export const pathOf = (input: PathInput): string => {
  if (typeof input === "string" && !input.startsWith("file:")) return path.resolve(input)
  return fileURLToPath(input)
}

const slashed = (relative: string): string => relative.split(path.sep).join("/")

const isBelow = (parent: string, file: string): boolean => {
  const relative = path.relative(parent, file)
  return relative !== "" && relative !== ".." && !relative.startsWith(`..${path.sep}`) && !path.isAbsolute(relative)
}

/** Where a file or directory goes in the working directory; empty for the working directory itself. */
const targetOf = (file: string, here: string): string => {
  if (file === here) return ""
  return isBelow(here, file) ? slashed(path.relative(here, file)) : path.basename(file)
}

/** The files below a directory; a link counts as what it leads to, if that is in the directory as well. */
const walk = async (
  root: string,
  directory: string,
  target: string,
  seen: ReadonlySet<string>,
  found: Array<Found>
): Promise<void> => {
  const real = await fs.realpath(directory)
  if (seen.has(real)) throw unusable(directory, "its links lead in a circle")
  for (
    const entry of (await fs.readdir(directory, { withFileTypes: true })).toSorted((a, b) => a.name < b.name ? -1 : 1)
  ) {
    const source = path.join(directory, entry.name)
    const place = target === "" ? entry.name : `${target}/${entry.name}`
    if (entry.isSymbolicLink()) {
      const leadsTo = await fs.realpath(source)
      if (!isBelow(root, leadsTo)) {
        throw unusable(source, `it is a link out of the directory that is sent, to ${leadsTo}`)
      }
    }
    const stats = await fs.stat(source)
    if (stats.isDirectory()) await walk(root, source, place, new Set(seen).add(real), found)
    else if (stats.isFile()) found.push({ target: place, source })
    else throw unusable(source, "it is neither a file nor a directory")
  }
}

const find = async (input: PathInput, here: string, found: Array<Found>): Promise<void> => {
  let file = String(input)
  try {
    file = pathOf(input)
    const stats = await fs.stat(file)
    if (stats.isFile()) found.push({ target: targetOf(file, here), source: file })
    else if (stats.isDirectory()) await walk(await fs.realpath(file), file, targetOf(file, here), new Set(), found)
    else throw unusable(file, "it is neither a file nor a directory")
  } catch (error) {
    if (error instanceof FileNotUsable) throw error
    const culprit = (error as NodeJS.ErrnoException | undefined)?.path
    throw unusable(culprit ?? file, reasonOf(error))
  }
}

const hashOf = async (source: string, key: string, sizeBytes: number): Promise<string> => {
  const known = hashes.get(key)
  if (known !== undefined) return known
  const hash = await Content.hashFile(source, sizeBytes)
  if (hashes.size >= maxHashes) hashes.clear()
  hashes.set(key, hash)
  return hash
}

const entryOf = async ({ source, target }: Found, maxFileBytes: number): Promise<FileEntry> => {
  const wrong = RelativePath.problem(target)
  if (wrong !== undefined) throw unusable(source, `nodes refuse its name: ${wrong}`)
  try {
    const stats = await fs.stat(source, { bigint: true })
    const sizeBytes = Number(stats.size)
    if (maxFileBytes > 0 && sizeBytes > maxFileBytes) {
      throw new FileTooLarge({ file: source, sizeBytes, limitBytes: maxFileBytes, limitOf: "this cluster" })
    }
    const key = `${stats.dev} ${stats.ino} ${stats.size} ${stats.mtimeNs} ${source}`
    const sha256 = await hashOf(source, key, sizeBytes)
    return { path: target, sizeBytes, sha256, mode: Number(stats.mode) & 0o777 }
  } catch (error) {
    if (error instanceof FileTooLarge) throw error
    throw unusable(source, reasonOf(error))
  }
}

const entryOfMade = ({ bytes, target }: MadeFile): FileEntry => ({
  path: target,
  sizeBytes: bytes.length,
  sha256: createHash("sha256").update(bytes).digest("hex"),
  mode: 0o644
})

const collect = async (
  inputs: ReadonlyArray<PathInput>,
  maxFileBytes: number,
  made: ReadonlyArray<MadeFile>,
  here: string
): Promise<LocalFiles> => {
  const found: Array<Found> = []
  for (const input of inputs) await find(input, here, found)
  // The same file named twice is one file.
  const files = [...new Map(found.map((one) => [`${one.target}\0${one.source}`, one])).values()]
  const clash = RelativePath.collision([...files, ...made].map(({ target }) => target))
  if (clash !== undefined) {
    const sources = files.filter(({ target }) => clash.includes(target)).map(({ source }) => source)
    throw new FilesCollide({ files: sources.length > 1 ? sources : [...clash], place: clash[1] })
  }
  const entries: Array<FileEntry> = []
  let next = 0
  const lane = async (): Promise<void> => {
    while (next < files.length) {
      const index = next++
      entries[index] = await entryOf(files[index]!, maxFileBytes)
    }
  }
  await Promise.all(Array.from({ length: concurrency }, lane))
  return {
    entries: [...entries, ...made.map(entryOfMade)],
    sources: [...files.map(({ source }) => source), ...made.map(({ bytes }) => bytes)]
  }
}

/**
 * Finds and hashes everything that these paths name, and what was made. `maxFileBytes` of 0 is no limit. What is below
 * `here` keeps its place, anything else its last name.
 */
export const gather = (
  inputs: ReadonlyArray<PathInput>,
  maxFileBytes: number,
  made: ReadonlyArray<MadeFile> = [],
  here = process.cwd()
): Effect.Effect<LocalFiles, DependFilesError> =>
  Effect.tryPromise({
    try: () => collect(inputs, maxFileBytes, made, here),
    catch: (error) => error as DependFilesError
  })

/** What is wrong with a path now; undefined when it names something that could be gathered. */
export const problem = (input: PathInput): FileNotUsable | undefined => {
  try {
    const stats = statSync(pathOf(input))
    return stats.isFile() || stats.isDirectory()
      ? undefined
      : unusable(String(input), "it is neither a file nor a directory")
  } catch (error) {
    return unusable(String(input), reasonOf(error))
  }
}
