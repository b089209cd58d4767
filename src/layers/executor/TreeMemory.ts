/**
 * What slots use with all they started: resident memory, and what of it was swapped out. What several processes of a
 * slot share counts once where the kernel tells (`smaps_rollup`), which is asked only when the plain sum is over the
 * limit, for it is slow. Without `/proc` it is the plain sum, as `ps` tells it.
 */
import * as fs from "node:fs"
import * as ProcessTree from "./ProcessTree.ts"

/** Looks at what slots use. */
export interface TreeMemory {
  readonly table: ProcessTree.ProcessTable
  readonly hasProc: boolean
}

/** A slot, and what it may use. */
export interface Measured {
  /** Undefined for one that is gone. */
  readonly root: ProcessTree.TreeRoot | undefined
  readonly aboveKiB: number
}

/** With `/proc` where there is one. */
export const make = (hasProc = process.platform === "linux"): TreeMemory => ({
  table: ProcessTree.makeTable(),
  hasProc
})

const sizeIn = (text: string, name: string): number =>
  Number(new RegExp(`^${name}:\\s+(\\d+) kB$`, "m").exec(text)?.[1] ?? 0)

/** The sum of two sizes in a file about a process; 0 when that is gone, undefined when it may not be read. */
const sumIn = (pid: number, file: string, names: readonly [string, string]): number | undefined => {
  try {
    const text = fs.readFileSync(`/proc/${pid}/${file}`, "latin1")
    return sizeIn(text, names[0]) + sizeIn(text, names[1])
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException
    return code === "EACCES" || code === "EPERM" ? undefined : 0
  }
}

const residentOf = (pid: number): number => sumIn(pid, "status", ["VmRSS", "VmSwap"]) ?? 0

/** Its part of what it shares with others. A process of another user does not tell. */
const shareOf = (pid: number): number => sumIn(pid, "smaps_rollup", ["Pss", "SwapPss"]) ?? residentOf(pid)

const sum = (members: ReadonlyArray<ProcessTree.ProcessEntry>, of: (pid: number) => number): number =>
  members.reduce((kib, { pid }) => kib + of(pid), 0)

const usedBy = (entries: ReadonlyArray<ProcessTree.ProcessEntry>, { aboveKiB, root }: Measured): number => {
  if (root === undefined) return 0
  const members = ProcessTree.collect(entries, root)
  const kib = sum(members, residentOf)
  return members.length < 2 || kib <= aboveKiB ? kib : sum(members, shareOf)
}

/** What these use, in KiB, and what a look costs each time, in milliseconds of a cpu. */
export const measure = async (
  self: TreeMemory,
  wanted: ReadonlyArray<Measured>
): Promise<{ readonly kib: ReadonlyArray<number>; readonly costMillis: number }> => {
  // What `ps` takes is not known otherwise.
  const clock = self.hasProc ? ProcessTree.cpuMillis : () => performance.now()
  const startedAt = clock()
  const entries = self.hasProc ? ProcessTree.listKnown(self.table) : await ProcessTree.listPs()
  const kib = wanted.map((one) => {
    if (self.hasProc || one.root === undefined) return usedBy(entries, one)
    return ProcessTree.collect(entries, one.root).reduce((all, { residentKiB = 0 }) => all + residentKiB, 0)
  })
  return { kib, costMillis: clock() - startedAt - self.table.readMillis }
}
