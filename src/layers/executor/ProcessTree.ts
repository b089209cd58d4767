/**
 * Finds and signals everything that a slot has started: its process group and
 * session, its descendants, and processes that left all of these but still carry
 * the slot's marker in their environment. A process that left the group, lost its
 * parent *and* cleared its environment is found only if it was seen before.
 */
import { execFile } from "node:child_process"
import * as fs from "node:fs"
import { setTimeout as sleep } from "node:timers/promises"

/** The environment variable that marks a slot and what it starts. */
export const markerName = "DISPY_SLOT"

/** A slot whose processes are meant. */
export interface TreeRoot {
  /** Process, process group and session of the slot; 0 for a thread, whose processes only carry its marker. */
  readonly pid: number
  /** When it started; empty where that is not known. */
  readonly start: string
  /** Value of its marker. */
  readonly marker: string
  /** Processes that were seen, with when they started: a pid may be given to another process. */
  readonly seen: Map<number, string>
}

/** A process of this machine. */
export interface ProcessEntry {
  readonly pid: number
  readonly ppid: number
  readonly pgid: number
  readonly sid: number
  readonly start: string
  /** Value of its marker; looked up when it is first asked for. */
  marker: string | undefined
  /** Resident memory, where the list tells it. */
  readonly residentKiB?: number
}

const statOf = (pid: number): ProcessEntry | undefined => {
  try {
    const stat = fs.readFileSync(`/proc/${pid}/stat`, "latin1")
    // The name in parentheses may hold anything; the fields after it are counted from 3.
    const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ")
    if (fields[0] === "Z") return undefined
    const number = (index: number): number => Number(fields[index])
    return { pid, ppid: number(1), pgid: number(2), sid: number(3), start: fields[19] ?? "", marker: undefined }
  } catch {
    return undefined
  }
}

const markerOf = (pid: number): string => {
  try {
    const environment = fs.readFileSync(`/proc/${pid}/environ`, "latin1").split("\0")
    return environment.find((word) => word.startsWith(`${markerName}=`))?.slice(markerName.length + 1) ?? ""
  } catch {
    // It is gone, or another user's.
    return ""
  }
}

const listProc = (): ReadonlyArray<ProcessEntry> => {
  const entries: Array<ProcessEntry> = []
  for (const name of fs.readdirSync("/proc")) {
    const pid = Number(name)
    const entry = pid > 0 ? statOf(pid) : undefined
    // Kernel threads are children of process 2.
    if (entry !== undefined && entry.ppid !== 2) entries.push(entry)
  }
  return entries
}

/** All processes, as `ps` tells them; none if it cannot. */
export const listPs = (): Promise<ReadonlyArray<ProcessEntry>> =>
  new Promise((resolve) => {
    execFile("ps", ["-A", "-o", "pid=,ppid=,pgid=,rss="], (error, text) => {
      if (error !== null) return resolve([])
      resolve(
        text.trim().split("\n").map((line) => {
          const [pid = 0, ppid = 0, pgid = 0, residentKiB = 0] = line.trim().split(/\s+/).map(Number)
          return { pid, ppid, pgid, sid: pgid, start: "", marker: "", residentKiB }
        })
      )
    })
  })

/** What is known of the processes of this machine, for who looks again and again. */
export interface ProcessTable {
  entries: Map<number, ProcessEntry | undefined>
  /** When everything is to be read again: parents and groups change, seldom. */
  freshUntil: number
  /** What the last listing spent on that, in milliseconds of a cpu: it has its own bound. */
  readMillis: number
}

/** A table of nothing. */
export const makeTable = (): ProcessTable => ({ entries: new Map(), freshUntil: 0, readMillis: 0 })

const freshMillis = 1_000

/** Reading everything takes at most one part in so many of the time. */
const readShare = 100

/** What this process has used of the cpus: on a busy machine less than the time that has passed. */
export const cpuMillis = (): number => {
  const { system, user } = process.cpuUsage()
  return (system + user) / 1000
}

/** The processes that there are; of those that are not new what was known a moment ago. For `/proc` only. */
export const listKnown = (table: ProcessTable): ReadonlyArray<ProcessEntry> => {
  const startedAt = cpuMillis()
  const isFresh = performance.now() < table.freshUntil
  const before = table.entries
  const entries = new Map<number, ProcessEntry | undefined>()
  for (const name of fs.readdirSync("/proc")) {
    const pid = Number(name)
    if (!(pid > 0)) continue
    const known = before.get(pid)
    const entry = isFresh && before.has(pid) ? known : statOf(pid)
    // The environment that a process was started with stays.
    if (entry !== undefined && entry !== known && entry.start === known?.start) entry.marker = known.marker
    entries.set(pid, entry)
  }
  table.entries = entries
  table.readMillis = isFresh ? 0 : cpuMillis() - startedAt
  if (!isFresh) table.freshUntil = performance.now() + Math.max(freshMillis, table.readMillis * readShare)
  return [...entries.values()].filter((entry) => entry !== undefined && entry.ppid !== 2) as Array<ProcessEntry>
}

const isLinux = process.platform === "linux"

const isMarked = (entry: ProcessEntry, root: TreeRoot): boolean =>
  (entry.marker ??= markerOf(entry.pid)) === root.marker

/** Whether the slot's pid was given to another process since: then its group is another's too. */
const isReused = (entries: ReadonlyArray<ProcessEntry>, root: TreeRoot): boolean =>
  root.start !== "" && entries.some((entry) => entry.pid === root.pid && entry.start !== root.start)

/** What belongs to a slot. */
export const collect = (entries: ReadonlyArray<ProcessEntry>, root: TreeRoot): ReadonlyArray<ProcessEntry> => {
  const found = new Set<number>()
  const group = isReused(entries, root) ? 0 : root.pid
  for (const entry of entries) {
    const isInside = group > 0 && (entry.pid === group || entry.pgid === group || entry.sid === group)
    if (isInside || root.seen.get(entry.pid) === entry.start || isMarked(entry, root)) found.add(entry.pid)
  }
  for (let before = 0; before < found.size;) {
    before = found.size
    for (const entry of entries) if (found.has(entry.ppid)) found.add(entry.pid)
  }
  const members = entries.filter((entry) => found.has(entry.pid))
  // What was seen and is still there is among them; a list that could not be made says nothing.
  if (entries.length > 0) root.seen.clear()
  for (const { pid, start } of members) root.seen.set(pid, start)
  return members
}

const signalOne = (pid: number, signal: NodeJS.Signals): void => {
  try {
    process.kill(pid, signal)
  } catch {
    // It is gone.
  }
}

const signalListed = (entries: ReadonlyArray<ProcessEntry>, roots: ReadonlyArray<TreeRoot>, signal: NodeJS.Signals) => {
  let count = 0
  for (const root of roots) {
    const members = collect(entries, root)
    // The group first, all at once: a member can have forked since the list was made.
    if (root.pid > 0 && members.some((member) => member.pgid === root.pid)) signalOne(-root.pid, signal)
    for (const { pgid, pid } of members) if (root.pid === 0 || pgid !== root.pid) signalOne(pid, signal)
    count += members.length
  }
  return count
}

/** When a process started, in the words of `TreeRoot.start`. */
export const startOf = (pid: number): string => isLinux ? statOf(pid)?.start ?? "" : ""

/** Sends a signal to everything that belongs to these slots; resolves to the number of processes that were found. */
export const signal = (roots: ReadonlyArray<TreeRoot>, name: NodeJS.Signals): Promise<number> => {
  if (process.platform === "win32") {
    for (const root of roots) if (root.pid > 0) signalOne(root.pid, name)
    return Promise.resolve(0)
  }
  return isLinux
    ? Promise.resolve(signalListed(listProc(), roots, name))
    : listPs().then((entries) => signalListed(entries, roots, name))
}

/** Five seconds and more. */
const killRounds = 70

/** Kills until nothing is left that belongs to these slots; gives up on what does not die. */
export const kill = async (roots: ReadonlyArray<TreeRoot>): Promise<void> => {
  for (let round = 0; round < killRounds; round++) {
    if (await signal(roots, "SIGKILL") === 0) return
    // A process with much memory takes its time to go, and on a busy machine every one does.
    await sleep(Math.min(100, 2 + round * 2))
  }
}
