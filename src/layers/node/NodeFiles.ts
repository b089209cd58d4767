/**
 * Files of computations on a node: what a client offers, what comes and goes over bulk connections, the large values of
 * jobs, and the directories for all of it.
 */
import { Effect } from "effect"
import * as fs from "node:fs"
import * as path from "node:path"
import type { Computation, FileEntry } from "../../domain/Computation.ts"
import type { Execution } from "../../domain/node/LargeReplies.ts"
import { ComputationRefused } from "../../domain/NodeError.ts"
import { messageOf } from "../../domain/Thrown.ts"
import type * as BulkFrames from "../../domain/transfer/BulkFrames.ts"
import * as RelativePath from "../../domain/transfer/RelativePath.ts"
import { argumentsName, resultName } from "../../domain/wire/LargeValue.ts"
import type { Gone, SentFile } from "../../services/JobExecutor.ts"
import type { NodeSettings } from "../../services/NodeConfig.ts"
import * as BulkPeer from "../bulk/BulkPeer.ts"
import { type Admission, type BulkLease, type Offering, Refusal } from "../bulk/BulkServer.ts"
import * as FileTree from "../files/FileTree.ts"
import * as Offers from "./Offers.ts"
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
export interface Hold extends Offers.Baggage {
  readonly isKept: boolean
  /** Directory of large arguments and results. */
  readonly values: string
  readonly jobFiles: Map<number, JobFile>
}

interface Lease extends BulkLease {
  readonly leaseId: string
  readonly clientName: string
  /** The client has a large result: whether its file is to go now. */
  readonly isDone: (execution: Execution) => boolean
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
  readonly contents: Offers.Contents
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
  contents: Offers.make(path.resolve(directory))
})

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
    ...Offers.makeBaggage(`${lease.leaseId}/${placement.id}`, tree),
    isKept,
    values,
    jobFiles: new Map()
  }
  lease.holds.set(placement.id, hold)
  return hold
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

const refusal = (files: NodeFiles, name: string, error: unknown): ComputationRefused =>
  new ComputationRefused({ node: files.node, computation: name, reason: sayWhy(error) })

const leaseOf = (files: NodeFiles, leaseId: string): Lease => {
  const lease = files.leases.get(leaseId)
  if (lease === undefined) throw new Refusal("the lease has ended")
  return lease
}

/** Which of the files of a computation, or of a job of it, the client has to send, by their places in the list. */
export const offer = (
  files: NodeFiles,
  leaseId: string,
  placement: Placement,
  entries: ReadonlyArray<FileEntry>,
  jobId?: number
): Effect.Effect<ReadonlyArray<number>, ComputationRefused> =>
  Effect.tryPromise({
    try: async (signal) => {
      checkEntries(files, entries)
      const hold = holdOf(files, leaseOf(files, leaseId), placement)
      return Offers.offer(files.contents, hold, entries, jobId, signal)
    },
    catch: (error) => refusal(files, placement.name, error)
  })

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
        await Offers.complete(files.contents, hold, entries)
      }
      return hold
    },
    catch: (error) => refusal(files, computation.name, error)
  })

const end = async (files: NodeFiles, lease: Lease, id: string): Promise<void> => {
  const hold = lease.holds.get(id)
  if (hold === undefined) return
  lease.holds.delete(id)
  Offers.end(files.contents, hold)
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
  const temporary = Offers.temporaryOf(files.contents)
  const { tree } = hold
  switch (target._tag) {
    case "Dependency": {
      const expected = Offers.expected(files.contents, hold, target)
      if (expected?.entry.sizeBytes !== sizeBytes) throw new Refusal("this file was not asked for")
      return { temporary, sha256: expected.entry.sha256, accept: expected.accept }
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

const offeringOf = (lease: Lease, hold: Hold, { computationId, source }: BulkFrames.GetHeader): Offering => {
  if (source._tag === "JobFile") {
    const file = hold.jobFiles.get(source.fileId)
    if (file === undefined) throw new Refusal("the job that sent the file has ended")
    return { content: { _tag: "File", ...file }, onFetched: () => {}, signal: file.signal }
  }
  const file = path.join(hold.values, resultName(source))
  const { size } = fs.lstatSync(file)
  return {
    content: { _tag: "File", path: file, sizeBytes: size },
    onFetched: () => {
      if (lease.isDone({ computationId, jobId: source.jobId, attempt: source.attempt })) Offers.discard(file)
    },
    signal: undefined
  }
}

const offering = (lease: Lease, header: BulkFrames.GetHeader): Offering => {
  const hold = lease.holds.get(header.computationId)
  if (hold === undefined) throw new Refusal("the computation is not open")
  return saidWell(() => offeringOf(lease, hold, header))
}

/** A client has a lease: its connections are served from now on. */
export const openLease = (
  files: NodeFiles,
  leaseId: string,
  clientName: string,
  isDone: Lease["isDone"] = () => true
): void => {
  const lease: Lease = {
    leaseId,
    clientName,
    isDone,
    holds: new Map(),
    window: BulkPeer.makeWindow(),
    connections: new Set(),
    partials: new Map(),
    receiving: new Map(),
    admit: (header) => admit(files, lease, header),
    offering: (header) => offering(lease, header),
    describe: (error) => `${messageOf(error)} in ${files.trees.run}${adviceOf(error)}`,
    discard: Offers.discard
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
    for (const { temporary } of lease.partials.values()) Offers.discard(temporary)
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

/** What is kept for a computation. */
export const holdFor = (files: NodeFiles, leaseId: string, computationId: string): Hold | undefined =>
  files.leases.get(leaseId)?.holds.get(computationId)

/** Nobody needs a large result any more. */
export const discardResult = (files: NodeFiles, leaseId: string, execution: Execution): void => {
  const hold = holdFor(files, leaseId, execution.computationId)
  if (hold !== undefined) Offers.discard(path.join(hold.values, resultName(execution)))
}

/** All leases end. */
export const close = (files: NodeFiles): Effect.Effect<void> =>
  Effect.forEach([...files.leases.keys()], (leaseId) => closeLease(files, leaseId), { discard: true })
