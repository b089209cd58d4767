/**
 * The directories that jobs work in, and how long they live. A computation has one
 * of its own below the run of the daemon, or with `destPath` one below its user's,
 * which clusters share and which may outlive daemons:
 *
 * ```
 * <prefix>/dispy-<user>/node/<run>/work/<n>            fresh, goes with its computation
 * <prefix>/dispy-<user>/files/<client user>/<destPath>  goes with the last that uses it, unless that keeps it
 * <prefix>/dispy-<user>/files/.open/<run>-<n>           says who uses it, and whether it is to go when a daemon was killed
 * ```
 */
import { createHash } from "node:crypto"
import * as fs from "node:fs"
import * as path from "node:path"
import * as FileUses from "../../domain/node/FileUses.ts"
import * as ProcessName from "../files/ProcessName.ts"
import * as NodeDirectory from "./NodeDirectory.ts"

/** A working directory. */
export interface WorkingTree {
  readonly directory: string
  /** Whether there may be files from before. */
  readonly isShared: boolean
  /** Computations that use it. */
  users: number
  /** Hashes of the files that were put there for computations, by path. */
  readonly placed: Map<string, string>
  /** Files that single jobs take along. */
  readonly uses: FileUses.FileUses
  /** Called when jobs may have ended that used files. */
  readonly onReleased: Set<() => void>
  /** File that says who uses it. */
  readonly record: string | undefined
}

/** All working directories of a node. */
export interface WorkingTrees {
  /** Of this run. */
  readonly run: string
  /** Of what outlives runs. */
  readonly kept: string
  readonly shared: Map<string, WorkingTree>
  last: number
}

/** A name for a directory that tells users apart, whatever they are called. */
const userName = (clientName: string): string => {
  const user = clientName.replace(/, process \d+$/, "")
  const hash = createHash("sha256").update(user).digest("hex").slice(0, 12)
  return `${user.replaceAll(/[^A-Za-z0-9@.-]/g, "_").replace(/^\./, "_").slice(0, 64)}-${hash}`
}

/** One name for a path: so no working directory lies in another. */
const flatName = (destPath: string): string => {
  const flat = destPath.replaceAll("%", "%25").replaceAll("/", "%2F")
  if (Buffer.byteLength(flat) <= 200) return flat
  return createHash("sha256").update(destPath).digest("hex").slice(0, 32)
}

const recordsOf = (trees: WorkingTrees): string => path.join(trees.kept, ".open")

interface RecordText {
  readonly directory: string
  readonly isKept: boolean
}

const readRecord = (file: string): RecordText | undefined => {
  try {
    const text = JSON.parse(fs.readFileSync(file, "utf8")) as Partial<RecordText>
    return typeof text.directory === "string" ? { directory: text.directory, isKept: text.isKept === true } : undefined
  } catch {
    return undefined
  }
}

/** Directories that running daemons use, but for the record `except`. */
const inUse = (records: string, except: string): ReadonlySet<string> => {
  const used = new Set<string>()
  for (const name of namesIn(records)) {
    const run = name.split("-").slice(0, 2).join("-")
    const file = path.join(records, name)
    if (file === except || ProcessName.isStale(run)) continue
    const record = readRecord(file)
    if (record !== undefined) used.add(record.directory)
  }
  return used
}

const namesIn = (directory: string): ReadonlyArray<string> => {
  try {
    return fs.readdirSync(directory)
  } catch {
    return []
  }
}

/** Removes directories that were to go with daemons that were killed. */
const removeStale = (trees: WorkingTrees): void => {
  const records = recordsOf(trees)
  for (const name of namesIn(records)) {
    const run = name.split("-").slice(0, 2).join("-")
    if (!ProcessName.isStale(run)) continue
    const file = path.join(records, name)
    const record = readRecord(file)
    const isOurs = record !== undefined && path.dirname(path.dirname(record.directory)) === trees.kept
    if (isOurs && !record.isKept && !inUse(records, file).has(record.directory)) {
      fs.rmSync(record.directory, { recursive: true, force: true })
    }
    fs.rmSync(file, { force: true })
  }
}

/** The working directories of a run of a daemon. */
export const make = (run: string): WorkingTrees => {
  const trees: WorkingTrees = { run, kept: NodeDirectory.keptDirectory(run), shared: new Map(), last: 0 }
  try {
    removeStale(trees)
  } catch {
    // What cannot be removed now is tried again by the next run.
  }
  return trees
}

/** Makes a directory with its parents, for this user alone. */
export const makePrivate = (directory: string): void => {
  fs.mkdirSync(directory, { recursive: true, mode: 0o700 })
}

const treeOf = (directory: string, record: string | undefined): WorkingTree => ({
  directory,
  isShared: record !== undefined,
  users: 1,
  placed: new Map(),
  uses: FileUses.make(),
  onReleased: new Set(),
  record
})

/** A directory for one computation. */
export const fresh = (trees: WorkingTrees): WorkingTree => {
  const directory = path.join(trees.run, "work", String(++trees.last))
  makePrivate(directory)
  return treeOf(directory, undefined)
}

const writeRecord = (tree: WorkingTree, isKept: boolean): void => {
  const text: RecordText = { directory: tree.directory, isKept }
  if (tree.record !== undefined) fs.writeFileSync(tree.record, JSON.stringify(text), { mode: 0o600 })
}

/** The directory that clusters of a user know by `destPath`. */
export const shared = (trees: WorkingTrees, clientName: string, destPath: string, isKept: boolean): WorkingTree => {
  const directory = path.join(trees.kept, userName(clientName), flatName(destPath))
  const known = trees.shared.get(directory)
  if (known !== undefined) {
    known.users++
    // What one user keeps is kept, also when the daemon is killed before it has ended.
    if (isKept) writeRecord(known, isKept)
    return known
  }
  for (const one of [trees.kept, recordsOf(trees), path.dirname(directory), directory]) makePrivate(one)
  if (!fs.lstatSync(directory).isDirectory()) throw new Error(`${directory} is not a directory`)
  const record = path.join(recordsOf(trees), `${ProcessName.own()}-${++trees.last}`)
  const tree = treeOf(directory, record)
  writeRecord(tree, isKept)
  trees.shared.set(directory, tree)
  return tree
}

/** Removes a directory with all that is in it. */
export const remove = async (directory: string): Promise<void> => {
  try {
    // Most are empty, and gone at once.
    fs.rmdirSync(directory)
  } catch {
    // A process that was killed a moment ago may still be writing.
    await fs.promises.rm(directory, { recursive: true, force: true, maxRetries: 5 })
  }
}

/** Removes directories that nobody uses, as far as they are empty. */
const prune = (trees: WorkingTrees, directory: string): void => {
  for (const one of [path.dirname(directory), recordsOf(trees), trees.kept]) {
    try {
      fs.rmdirSync(one)
    } catch {
      // Something else is kept there.
    }
  }
}

/** A computation that used a directory has ended; with the last one it goes, unless that one keeps it. */
export const release = async (trees: WorkingTrees, tree: WorkingTree, isKept: boolean): Promise<void> => {
  if (--tree.users > 0) return
  trees.shared.delete(tree.directory)
  const isUsedElsewhere = tree.record !== undefined && inUse(recordsOf(trees), tree.record).has(tree.directory)
  const isStaying = tree.isShared && (isKept || isUsedElsewhere)
  if (!isStaying) await remove(tree.directory)
  if (tree.record === undefined) return
  await fs.promises.rm(tree.record, { force: true })
  prune(trees, tree.directory)
}
