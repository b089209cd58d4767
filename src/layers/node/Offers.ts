/**
 * What computations and their jobs take along, on a node: what of an offer is there already (by content, never by name
 * or time), what the client is to send, and what goes when. Content that several take along is sent once: the second
 * waits for the first one's and copies it.
 */
import { createHash } from "node:crypto"
import * as fs from "node:fs"
import * as path from "node:path"
import type { FileEntry } from "../../domain/Computation.ts"
import * as FileUses from "../../domain/node/FileUses.ts"
import * as Entries from "../../domain/wire/Entries.ts"
import type { Gone } from "../../services/JobExecutor.ts"
import { Refusal } from "../bulk/BulkServer.ts"
import * as FileTree from "../files/FileTree.ts"
import * as WorkingTrees from "./WorkingTrees.ts"

/** What is taken along with one computation. */
export interface Baggage {
  /** Unique on the node. */
  readonly key: string
  readonly tree: WorkingTrees.WorkingTree
  /** Files that the client was told to send. */
  readonly missing: Map<string, Missing>
  isEnded: boolean
}

/** Who takes files along: a computation, or one of its jobs. */
export interface Taker {
  readonly baggage: Baggage
  readonly jobId: number | undefined
  /** Takers wait only for content that earlier ones were promised, so nobody waits in a circle. */
  readonly number: number
  /** Aborted when the client has withdrawn its offer. */
  readonly signal: Gone | undefined
}

/** A file that a client was told to send. */
export interface Missing {
  readonly entry: FileEntry
  readonly taker: Taker
}

/** Content that a client was told to send. */
interface Promised {
  readonly taker: Taker
  readonly settled: Promise<void>
  readonly settle: () => void
}

/** All content that was put to its place on a node. */
export interface Contents {
  /** Directory for files that are on their way; made with the first. */
  readonly incoming: string
  /** Where content is, by hash. */
  readonly places: Map<string, { readonly tree: WorkingTrees.WorkingTree; readonly path: string }>
  readonly promised: Map<string, Promised>
  /** Numbers of temporary files. */
  last: number
  /** Offers that there were. */
  takers: number
}

/** None, on a run of a daemon in this directory. */
export const make = (run: string): Contents => ({
  incoming: path.join(run, "incoming"),
  places: new Map(),
  promised: new Map(),
  last: 0,
  takers: 0
})

/** Nothing was taken along yet. */
export const makeBaggage = (key: string, tree: WorkingTrees.WorkingTree): Baggage => ({
  key,
  tree,
  missing: new Map(),
  isEnded: false
})

/** A name for a file on its way. */
export const temporaryOf = (contents: Contents): string => {
  if (contents.last === 0) WorkingTrees.makePrivate(contents.incoming)
  return path.join(contents.incoming, String(++contents.last))
}

/** Removes such a file. */
export const discard = (file: string): void => fs.rmSync(file, { force: true })

/** Who makes an offer now: the computation, or a job of it. */
const takerOf = (contents: Contents, baggage: Baggage, jobId?: number, signal?: Gone): Taker => ({
  baggage,
  jobId,
  number: ++contents.takers,
  signal
})

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

const remember = (contents: Contents, { baggage: { tree }, jobId }: Taker, { path: name, sha256 }: FileEntry): void => {
  const use = FileUses.at(tree.uses, name)
  // What a computation takes along stays until that ends, whichever jobs bring the same.
  if (use !== undefined) use.state = jobId === undefined ? "found" : "brought"
  if (jobId === undefined) tree.placed.set(name, sha256)
  if (jobId === undefined || !contents.places.has(sha256)) contents.places.set(sha256, { tree, path: name })
}

/** Puts content that is somewhere on this node to its place, verified while it is copied. */
const copyHere = async (contents: Contents, taker: Taker, entry: FileEntry): Promise<boolean> => {
  const source = contents.places.get(entry.sha256)
  const found = source === undefined ? undefined : FileTree.open(source.tree.directory, source.path)
  if (found === undefined) return false
  const temporary = temporaryOf(contents)
  const to = fs.openSync(temporary, "wx", 0o600)
  try {
    const hash = await copyOpen(found.fd, to)
    if (hash !== entry.sha256) {
      // A job has written to it meanwhile.
      contents.places.delete(entry.sha256)
      return false
    }
    checkWanted(taker)
    FileTree.place(taker.baggage.tree.directory, entry.path, temporary, { mode: entry.mode })
    remember(contents, taker, entry)
    return true
  } finally {
    fs.closeSync(to)
    discard(temporary)
  }
}

/** Whether files may still be put to their places, or promised. */
const checkWanted = ({ baggage, signal }: Taker): void => {
  if (baggage.isEnded) throw new Refusal("the computation has ended")
  if (signal?.aborted === true) throw new Refusal("the offer was withdrawn")
}

const missingKey = (jobId: number | undefined, name: string): string => `${jobId ?? ""}/${name}`

/** The client is to send the file; others that want its content wait for it. */
const ask = (contents: Contents, taker: Taker, entry: FileEntry): void => {
  taker.baggage.missing.set(missingKey(taker.jobId, entry.path), { entry, taker })
  if (contents.promised.has(entry.sha256)) return
  const { promise: settled, resolve } = Promise.withResolvers<void>()
  contents.promised.set(entry.sha256, { taker, settled, settle: resolve })
}

const settle = (contents: Contents, { entry, taker }: Missing): void => {
  const promised = contents.promised.get(entry.sha256)
  if (promised === undefined || promised.taker !== taker) return
  contents.promised.delete(entry.sha256)
  promised.settle()
}

/** Whether a file that a job takes along is at its place already. */
const isHereForJob = ({ tree }: Baggage, { path: name, sha256 }: FileEntry): boolean => {
  const use = FileUses.at(tree.uses, name)
  if (use?.state === "expected" && tree.placed.get(name) === sha256) use.state = "found"
  return use !== undefined && use.state !== "expected"
}

/** How far an entry is: at its place, or to be sent by this client, or by another first. */
const look = async (contents: Contents, taker: Taker, entry: FileEntry): Promise<"here" | "missing" | Promised> => {
  const { baggage, jobId } = taker
  const { tree } = baggage
  if (jobId !== undefined && isHereForJob(baggage, entry)) return "here"
  if (tree.isShared && await isThere(tree, entry)) {
    const use = FileUses.at(tree.uses, entry.path)
    if (jobId === undefined) remember(contents, taker, entry)
    // Another job may have brought it in the meantime.
    else if (use?.state === "expected") use.state = "found"
    return "here"
  }
  if (contents.places.has(entry.sha256) && await copyHere(contents, taker, entry)) return "here"
  checkWanted(taker)
  const promised = contents.promised.get(entry.sha256)
  if (promised !== undefined && promised.taker.number < taker.number) return promised
  // The same content twice in the offer of a computation is copied when that is opened.
  if (promised?.taker === taker && jobId === undefined) return "here"
  ask(contents, taker, entry)
  return "missing"
}

const missingOf = async (
  contents: Contents,
  taker: Taker,
  entries: ReadonlyArray<FileEntry>
): Promise<ReadonlyArray<number>> => {
  const missing: Array<number> = []
  const waiting: Array<number> = []
  for (const [i, entry] of entries.entries()) {
    const found = await look(contents, taker, entry)
    if (found === "missing") missing.push(i)
    else if (found !== "here") waiting.push(i)
  }
  for (const i of waiting) {
    let found = await look(contents, taker, entries[i]!)
    while (found !== "here" && found !== "missing") {
      await found.settled
      found = await look(contents, taker, entries[i]!)
    }
    if (found === "missing") missing.push(i)
  }
  return missing
}

const jobKey = (baggage: Baggage, jobId: number): string => `${baggage.key}/${jobId}`

/** What a job brought goes, as far as no other uses it. */
const releaseJob = (
  contents: Contents,
  { directory, onReleased, uses }: WorkingTrees.WorkingTree,
  job: string
): void => {
  for (const { path: name, sha256 } of FileUses.release(uses, job)) {
    FileTree.remove(directory, name)
    const known = contents.places.get(sha256)
    if (known?.tree.directory === directory && known.path === name) contents.places.delete(sha256)
  }
  for (const listener of onReleased) listener()
  onReleased.clear()
}

/** The offer of a job is taken back. */
const withdraw = (contents: Contents, baggage: Baggage, jobId: number): void => {
  for (const [key, missing] of baggage.missing) {
    if (missing.taker.jobId !== jobId) continue
    baggage.missing.delete(key)
    settle(contents, missing)
  }
  releaseJob(contents, baggage.tree, jobKey(baggage, jobId))
}

/** Keeps the places of a job's files for it, when no other job has something else there any more. */
const reserve = async (contents: Contents, taker: Taker, jobId: number, entries: ReadonlyArray<FileEntry>) => {
  const { baggage } = taker
  const { onReleased, placed, uses } = baggage.tree
  withdraw(contents, baggage, jobId)
  while (FileUses.clash(uses, entries) !== undefined) {
    await new Promise<void>((resolve) => onReleased.add(resolve))
    checkWanted(taker)
  }
  const own = entries.find((entry) => (placed.get(entry.path) ?? entry.sha256) !== entry.sha256)
  if (own !== undefined) {
    throw new Refusal(`the cluster has another file ${own.path} in its depends; give that of the job another name`)
  }
  FileUses.take(uses, jobKey(baggage, jobId), entries)
}

/** Files of jobs that end with these replies go. */
export const releaseEnded = (contents: Contents, baggage: Baggage, batch: Uint8Array): void => {
  const { tree } = baggage
  if (tree.uses.jobs.size === 0) return
  const view = Entries.viewOf(batch)
  for (let offset = 0; offset < batch.length; offset += Entries.entrySize(view, offset)) {
    const job = jobKey(baggage, Entries.entryJobId(view, offset))
    const isEnd = Entries.replyOutcome(view, offset) !== Entries.Outcome.provisional
    if (isEnd && tree.uses.jobs.has(job)) releaseJob(contents, tree, job)
  }
}

/** Has every file of the computation in its place. */
export const complete = async (
  contents: Contents,
  baggage: Baggage,
  entries: ReadonlyArray<FileEntry>
): Promise<void> => {
  const taker = takerOf(contents, baggage)
  for (const entry of entries) {
    if (baggage.tree.placed.get(entry.path) === entry.sha256) continue
    if (baggage.tree.isShared && await isThere(baggage.tree, entry)) continue
    if (!await copyHere(contents, taker, entry)) throw new Refusal(`the file ${entry.path} did not arrive`)
  }
}

/** Which of these files the client has to send for a computation, or for a job of it, by their places in the list. */
export const offer = async (
  contents: Contents,
  baggage: Baggage,
  entries: ReadonlyArray<FileEntry>,
  jobId: number | undefined,
  signal: Gone
): Promise<ReadonlyArray<number>> => {
  const taker = takerOf(contents, baggage, jobId, signal)
  if (jobId !== undefined) await reserve(contents, taker, jobId, entries)
  return missingOf(contents, taker, entries)
}

/** What comes of a file that the client was told to send; undefined for another. */
export const expected = (
  contents: Contents,
  baggage: Baggage,
  { jobId, path: name }: { readonly path: string; readonly jobId?: number }
): { readonly entry: FileEntry; readonly accept: (from: string) => void } | undefined => {
  const key = missingKey(jobId, name)
  const missing = baggage.missing.get(key)
  if (missing === undefined) return undefined
  const { entry, taker } = missing
  const accept = (from: string): void => {
    if (baggage.missing.get(key) !== missing) throw new Refusal("the job does not want it any more")
    FileTree.place(baggage.tree.directory, entry.path, from, { mode: entry.mode })
    remember(contents, taker, entry)
    baggage.missing.delete(key)
    settle(contents, missing)
  }
  return { entry, accept }
}

/** The computation has ended: nobody waits for what it was to send, and its jobs use nothing any more. */
export const end = (contents: Contents, baggage: Baggage): void => {
  const { missing, tree } = baggage
  baggage.isEnded = true
  for (const one of missing.values()) settle(contents, one)
  for (const job of tree.uses.jobs.keys()) if (job.startsWith(`${baggage.key}/`)) releaseJob(contents, tree, job)
  if (tree.users > 1) return
  for (const [sha256, place] of contents.places) if (place.tree === tree) contents.places.delete(sha256)
}
