/**
 * Files of computations on a node: what a client offered, what is there already
 * (by content, never by name or time), what comes over bulk connections, and the
 * large values of jobs. Content that several computations take along is sent once:
 * the second waits for the first one's and copies it.
 */
import { Effect } from "effect"
import { createHash } from "node:crypto"
import * as fs from "node:fs"
import * as path from "node:path"
import type { Computation, FileEntry } from "../../domain/Computation.ts"
import { ComputationRefused } from "../../domain/NodeError.ts"
import type * as BulkFrames from "../../domain/transfer/BulkFrames.ts"
import * as RelativePath from "../../domain/transfer/RelativePath.ts"
import { argumentsName, resultName } from "../../domain/wire/LargeValue.ts"
import type { Gone, SentFile } from "../../services/JobExecutor.ts"
import type { NodeSettings } from "../../services/NodeConfig.ts"
import * as BulkPeer from "../bulk/BulkPeer.ts"
import { type Admission, type BulkLease, type Offering, Refusal } from "../bulk/BulkServer.ts"
import * as FileTree from "../files/FileTree.ts"
import * as WorkingTrees from "./WorkingTrees.ts"

/** What of a computation says where its files go. */
export type Placement = Pick<Computation, "id" | "name" | "destPath" | "keepFiles">

/** A file that a job sends. */
export interface JobFile {
  readonly path: string
  readonly sizeBytes: number
  readonly signal: Gone
}

/** What is kept for a computation. */
export interface Hold {
  readonly key: string
  readonly tree: WorkingTrees.WorkingTree
  readonly isKept: boolean
  /** Directory of large arguments and results. */
  readonly values: string
  /** Files that the client was told to send, by path. */
  readonly missing: Map<string, FileEntry>
  readonly jobFiles: Map<number, JobFile>
}

/** Content that a client was told to send. */
interface Promised {
  readonly hold: Hold
  readonly settled: Promise<void>
  readonly settle: () => void
}

interface Lease extends BulkLease {
  readonly leaseId: string
  readonly clientName: string
  readonly holds: Map<string, Hold>
}

/** All files of a node. */
export interface NodeFiles {
  readonly node: string
  /** Largest file; 0 for any. */
  readonly maxFileBytes: number
  /** Whether no working directory is kept, whatever clients want. */
  readonly forceCleanup: boolean
  readonly trees: WorkingTrees.WorkingTrees
  readonly leases: Map<string, Lease>
  /** Where content is that was put here, by hash. */
  readonly contents: Map<string, { readonly tree: WorkingTrees.WorkingTree; readonly path: string }>
  readonly promised: Map<string, Promised>
  last: number
}

/** The files of a run of a daemon in this directory. */
export const make = (
  node: string,
  { directory, forceCleanup, maxFileBytes }: Pick<NodeSettings, "directory" | "maxFileBytes" | "forceCleanup">
): NodeFiles => ({
  node,
  maxFileBytes,
  forceCleanup,
  trees: WorkingTrees.make(path.resolve(directory)),
  leases: new Map(),
  contents: new Map(),
  promised: new Map(),
  last: 0
})

const messageOf = (error: unknown): string => error instanceof Error ? error.message : String(error)

/** What to do about an error of the file system. */
const adviceOf = (error: unknown): string => {
  switch ((error as NodeJS.ErrnoException | undefined)?.code) {
    case "ENOSPC":
    case "EDQUOT":
      return "; make room there, or start dispynode with --dest-path-prefix on another disk"
    case "EACCES":
    case "EPERM":
    case "EROFS":
    case "ENOENT":
      return "; start dispynode with a --dest-path-prefix that it may write to"
    default:
      return ""
  }
}

const sayWhy = (error: unknown): string => `${messageOf(error)}${adviceOf(error)}`

const temporaryOf = (files: NodeFiles): string => {
  const directory = path.join(files.trees.run, "incoming")
  if (files.last === 0) WorkingTrees.makePrivate(directory)
  return path.join(directory, String(++files.last))
}

const discard = (file: string): void => fs.rmSync(file, { force: true })

const checkSize = (files: NodeFiles, what: string, sizeBytes: number): void => {
  if (files.maxFileBytes === 0 || sizeBytes <= files.maxFileBytes) return
  throw new Refusal(
    `${what} has ${sizeBytes} bytes, more than the ${files.maxFileBytes} that this node takes (--max-file-size)`,
    files.maxFileBytes
  )
}

const holdOf = (files: NodeFiles, lease: Lease, placement: Placement): Hold => {
  const known = lease.holds.get(placement.id)
  if (known !== undefined) return known
  const { destPath } = placement
  const isKept = placement.keepFiles === true && !files.forceCleanup
  const wrong = destPath === undefined ? undefined : RelativePath.problem(destPath)
  if (wrong !== undefined) throw new Refusal(`destPath is refused: ${wrong}`)
  const tree = destPath === undefined
    ? WorkingTrees.fresh(files.trees)
    : WorkingTrees.shared(files.trees, lease.clientName, destPath, isKept)
  const values = path.join(files.trees.run, "values", String(++files.trees.last))
  WorkingTrees.makePrivate(values)
  const hold: Hold = {
    key: `${lease.leaseId}/${placement.id}`,
    tree,
    isKept,
    values,
    missing: new Map(),
    jobFiles: new Map()
  }
  lease.holds.set(placement.id, hold)
  return hold
}

/** Copies from one open file to another; returns the hash of what was copied. */
const copyOpen = async (from: number, to: number): Promise<string> => {
  const hash = createHash("sha256")
  const stream = fs.createReadStream("", { fd: from, autoClose: true, highWaterMark: 1024 * 1024 })
  for await (const bytes of stream) {
    hash.update(bytes as Buffer)
    if (to >= 0) fs.writeSync(to, bytes as Buffer)
  }
  return hash.digest("hex")
}

const isThere = async (tree: WorkingTrees.WorkingTree, entry: FileEntry): Promise<boolean> => {
  const found = FileTree.open(tree.directory, entry.path)
  if (found === undefined) return false
  if (found.sizeBytes !== entry.sizeBytes) {
    fs.closeSync(found.fd)
    return false
  }
  return await copyOpen(found.fd, -1) === entry.sha256
}

const remember = (files: NodeFiles, tree: WorkingTrees.WorkingTree, entry: FileEntry): void => {
  tree.placed.set(entry.path, entry.sha256)
  files.contents.set(entry.sha256, { tree, path: entry.path })
}

/** Puts content that is somewhere on this node to its place, verified while it is copied. */
const copyHere = async (files: NodeFiles, hold: Hold, entry: FileEntry): Promise<boolean> => {
  const source = files.contents.get(entry.sha256)
  const found = source === undefined ? undefined : FileTree.open(source.tree.directory, source.path)
  if (found === undefined) return false
  const temporary = temporaryOf(files)
  const to = fs.openSync(temporary, "wx", 0o600)
  try {
    const hash = await copyOpen(found.fd, to)
    if (hash !== entry.sha256) {
      // A job has written to it meanwhile.
      files.contents.delete(entry.sha256)
      return false
    }
    FileTree.place(hold.tree.directory, entry.path, temporary, { mode: entry.mode })
    remember(files, hold.tree, entry)
    return true
  } finally {
    fs.closeSync(to)
    discard(temporary)
  }
}

const promise = (files: NodeFiles, hold: Hold, sha256: string): void => {
  const { promise: settled, resolve } = Promise.withResolvers<void>()
  files.promised.set(sha256, { hold, settled, settle: resolve })
}

const settle = (files: NodeFiles, hold: Hold, sha256: string): void => {
  const promised = files.promised.get(sha256)
  if (promised === undefined || promised.hold !== hold) return
  files.promised.delete(sha256)
  promised.settle()
}

/** How far an entry is: at its place, or to be sent by this client, or by another first. */
const look = async (files: NodeFiles, hold: Hold, entry: FileEntry): Promise<"here" | "missing" | Promised> => {
  const { tree } = hold
  if (tree.isShared && await isThere(tree, entry)) {
    remember(files, tree, entry)
    return "here"
  }
  if (files.contents.has(entry.sha256) && await copyHere(files, hold, entry)) return "here"
  const promised = files.promised.get(entry.sha256)
  if (promised !== undefined) return promised
  promise(files, hold, entry.sha256)
  return "missing"
}

const checkEntries = (files: NodeFiles, entries: ReadonlyArray<FileEntry>): void => {
  for (const { path: name, sha256, sizeBytes } of entries) {
    const wrong = RelativePath.problem(name)
    if (wrong !== undefined) throw new Refusal(`the file ${JSON.stringify(name.slice(0, 200))} is refused: ${wrong}`)
    if (!/^[0-9a-f]{64}$/.test(sha256) || !(Number.isSafeInteger(sizeBytes) && sizeBytes >= 0)) {
      throw new Refusal(`the entry of file ${name} is malformed`)
    }
    checkSize(files, `file ${name}`, sizeBytes)
  }
  const clash = RelativePath.collision(entries.map((entry) => entry.path))
  if (clash !== undefined) throw new Refusal(`the files ${clash[0]} and ${clash[1]} cannot be there together`)
}

const missingOf = async (
  files: NodeFiles,
  hold: Hold,
  entries: ReadonlyArray<FileEntry>
): Promise<ReadonlyArray<number>> => {
  const missing: Array<number> = []
  const waiting: Array<number> = []
  for (const [i, entry] of entries.entries()) {
    const found = await look(files, hold, entry)
    if (found === "missing") {
      hold.missing.set(entry.path, entry)
      missing.push(i)
    } else if (found !== "here" && found.hold !== hold) waiting.push(i)
  }
  // Only for offers made before this one, so nobody waits in a circle. The same content twice in one offer is copied later.
  for (const i of waiting) {
    const entry = entries[i]!
    let found = await look(files, hold, entry)
    while (found !== "here" && found !== "missing" && found.hold !== hold) {
      await found.settled
      found = await look(files, hold, entry)
    }
    if (found === "missing") {
      hold.missing.set(entry.path, entry)
      missing.push(i)
    }
  }
  return missing
}

const refusal = (files: NodeFiles, name: string, error: unknown): ComputationRefused =>
  new ComputationRefused({ node: files.node, computation: name, reason: sayWhy(error) })

const leaseOf = (files: NodeFiles, leaseId: string): Lease => {
  const lease = files.leases.get(leaseId)
  if (lease === undefined) throw new Refusal("the lease has ended")
  return lease
}

/** Which of the files of a computation the client has to send, by their places in the list. */
export const offer = (
  files: NodeFiles,
  leaseId: string,
  placement: Placement,
  entries: ReadonlyArray<FileEntry>
): Effect.Effect<ReadonlyArray<number>, ComputationRefused> =>
  Effect.tryPromise({
    try: () => {
      checkEntries(files, entries)
      return missingOf(files, holdOf(files, leaseOf(files, leaseId), placement), entries)
    },
    catch: (error) => refusal(files, placement.name, error)
  })

const complete = async (files: NodeFiles, hold: Hold, entries: ReadonlyArray<FileEntry>): Promise<void> => {
  for (const entry of entries) {
    if (hold.tree.placed.get(entry.path) === entry.sha256) continue
    if (hold.tree.isShared && await isThere(hold.tree, entry)) continue
    if (!await copyHere(files, hold, entry)) throw new Refusal(`the file ${entry.path} did not arrive`)
  }
}

/** Makes the directories of a computation ready, with all of its files in place. */
export const prepare = (
  files: NodeFiles,
  leaseId: string,
  computation: Computation
): Effect.Effect<Hold, ComputationRefused> =>
  Effect.tryPromise({
    try: async () => {
      const hold = holdOf(files, leaseOf(files, leaseId), computation)
      const entries = computation.depends?.files ?? []
      if (entries.length > 0) {
        checkEntries(files, entries)
        await complete(files, hold, entries)
      }
      return hold
    },
    catch: (error) => refusal(files, computation.name, error)
  })

const end = async (files: NodeFiles, lease: Lease, id: string): Promise<void> => {
  const hold = lease.holds.get(id)
  if (hold === undefined) return
  lease.holds.delete(id)
  for (const entry of hold.missing.values()) settle(files, hold, entry.sha256)
  if (hold.tree.users === 1) {
    for (const [sha256, { tree }] of files.contents) if (tree === hold.tree) files.contents.delete(sha256)
  }
  await WorkingTrees.remove(hold.values)
  await WorkingTrees.release(files.trees, hold.tree, hold.isKept)
}

/** A computation has ended: its files go, unless they are kept. */
export const release = (files: NodeFiles, leaseId: string, computationId: string): Effect.Effect<void> =>
  Effect.promise(async () => {
    const lease = files.leases.get(leaseId)
    if (lease !== undefined) await end(files, lease, computationId)
  })

const admitFile = (files: NodeFiles, hold: Hold, { sizeBytes, target }: BulkFrames.PutHeader): Admission => {
  const temporary = temporaryOf(files)
  const { tree } = hold
  switch (target._tag) {
    case "Dependency": {
      const entry = hold.missing.get(target.path)
      if (entry === undefined || entry.sizeBytes !== sizeBytes) throw new Refusal("this file was not asked for")
      const accept = (from: string): void => {
        FileTree.place(tree.directory, entry.path, from, { mode: entry.mode })
        remember(files, tree, entry)
        hold.missing.delete(entry.path)
        settle(files, hold, entry.sha256)
      }
      return { temporary, sha256: entry.sha256, accept }
    }
    case "File": {
      const wrong = RelativePath.problem(target.path) ?? (target.path.includes("/") ? "it is no base name" : undefined)
      if (wrong !== undefined) throw new Refusal(`the file name is refused: ${wrong}`)
      checkSize(files, `file ${target.path}`, sizeBytes)
      const accept = (from: string): void => {
        FileTree.place(tree.directory, target.path, from, target)
        tree.placed.delete(target.path)
      }
      return { temporary, sha256: undefined, accept }
    }
    case "Arguments": {
      const accept = (from: string): void => fs.renameSync(from, path.join(hold.values, argumentsName(target)))
      return { temporary, sha256: undefined, accept }
    }
  }
}

const saidWell = <A>(run: () => A): A => {
  try {
    return run()
  } catch (error) {
    throw error instanceof Refusal ? error : new Refusal(sayWhy(error))
  }
}

const admit = (files: NodeFiles, lease: Lease, header: BulkFrames.PutHeader): Admission => {
  const hold = lease.holds.get(header.computationId)
  if (hold === undefined) throw new Refusal("the computation is not open")
  const admission = saidWell(() => admitFile(files, hold, header))
  return { ...admission, accept: (from) => saidWell(() => admission.accept(from)) }
}

const offeringOf = (hold: Hold, { source }: BulkFrames.GetHeader): Offering => {
  if (source._tag === "JobFile") {
    const file = hold.jobFiles.get(source.fileId)
    if (file === undefined) throw new Refusal("the job that sent the file has ended")
    return { content: { _tag: "File", ...file }, onFetched: () => {}, signal: file.signal }
  }
  const file = path.join(hold.values, resultName(source))
  const { size } = fs.lstatSync(file)
  return { content: { _tag: "File", path: file, sizeBytes: size }, onFetched: () => discard(file), signal: undefined }
}

const offering = (lease: Lease, header: BulkFrames.GetHeader): Offering => {
  const hold = lease.holds.get(header.computationId)
  if (hold === undefined) throw new Refusal("the computation is not open")
  return saidWell(() => offeringOf(hold, header))
}

/** A client has a lease: its connections are served from now on. */
export const openLease = (files: NodeFiles, leaseId: string, clientName: string): void => {
  const lease: Lease = {
    leaseId,
    clientName,
    holds: new Map(),
    window: BulkPeer.makeWindow(),
    connections: new Set(),
    partials: new Map(),
    receiving: new Map(),
    admit: (header) => admit(files, lease, header),
    offering: (header) => offering(lease, header),
    describe: (error) => `${messageOf(error)} in ${files.trees.run}${adviceOf(error)}`,
    discard
  }
  files.leases.set(leaseId, lease)
}

/** The lease has ended: its connections are closed, and the files of its computations go. */
export const closeLease = (files: NodeFiles, leaseId: string): Effect.Effect<void> =>
  Effect.promise(async () => {
    const lease = files.leases.get(leaseId)
    if (lease === undefined) return
    files.leases.delete(leaseId)
    for (const peer of lease.connections) BulkPeer.close(peer, "the lease has ended")
    for (const id of lease.holds.keys()) await end(files, lease, id)
    for (const { temporary } of lease.partials.values()) discard(temporary)
  })

/** A job sends a file: it can be fetched from now on. Says why it cannot. */
export const offerJobFile = (files: NodeFiles, hold: Hold, sent: SentFile): string | undefined => {
  const { file, fileId, path: name, signal, sizeBytes } = sent
  if (files.maxFileBytes > 0 && sizeBytes > files.maxFileBytes) {
    return `it has ${sizeBytes} bytes, more than the ${files.maxFileBytes} that node ${files.node} sends (--max-file-size)`
  }
  const wrong = RelativePath.problem(name)
  if (wrong !== undefined) return `its name ${JSON.stringify(name.slice(0, 200))} cannot be used: ${wrong}`
  hold.jobFiles.set(fileId, { path: file, sizeBytes, signal })
  signal.addEventListener("abort", () => hold.jobFiles.delete(fileId), { once: true })
  return undefined
}

/** All leases end. */
export const close = (files: NodeFiles): Effect.Effect<void> =>
  Effect.forEach([...files.leases.keys()], (leaseId) => closeLease(files, leaseId), { discard: true })
