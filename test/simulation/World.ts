/**
 * A simulated world: machines with processes on them, virtual time, and one queue of what is to happen. One thread takes
 * the next of it, lets it happen, and has the rules checked; everything that happens goes into a trace, whose hash says
 * whether two runs were the same.
 */
import * as Random from "./Random.ts"

/** A program that runs, from its start to its end; another start is another process. */
export interface Process {
  readonly id: number
  readonly name: string
  readonly machine: Machine
  isAlive: boolean
  /** Stopped: what happens to it waits. */
  isFrozen: boolean
  /** When it last went on after it was stopped. */
  thawedAt: number
  readonly waiting: Array<() => void>
  /** What its end does besides. */
  readonly onEnd: Set<() => void>
}

/** A computer. */
export interface Machine {
  readonly name: string
  /** What its wall clock is wrong by, in milliseconds. */
  clockError: number
  /** Whatever is started there fails at once, as without room on its disk. */
  isBad: boolean
}

interface Entry {
  readonly at: number
  readonly order: number
  readonly process: Process | undefined
  readonly what: string
  readonly run: () => void
}

/** Why a run is over before its end. */
export class Violation extends Error {
  override readonly name = "Violation"
}

/** See above. */
export interface World {
  readonly seed: number
  readonly random: Random.Random
  now: number
  readonly queue: Array<Entry>
  order: number
  processes: number
  /** Things that happen in the same moment, after what runs. */
  readonly soon: Array<() => void>
  steps: number
  hash: number
  /** The last lines of the trace. */
  readonly trace: Array<string>
  traced: number
  /** How often what happened. */
  readonly counts: Map<string, number>
  /** Called after every step, with the process to which something happened; undefined when it may be any. */
  check: (process: Process | undefined) => void
}

/** Lines of the trace that are kept. */
const traceLines = 400

/** An empty world. */
export const make = (seed: number): World => ({
  seed,
  random: Random.make(seed),
  now: 0,
  queue: [],
  order: 0,
  processes: 0,
  soon: [],
  steps: 0,
  hash: 0x81_1C_9D_C5,
  trace: [],
  traced: 0,
  counts: new Map(),
  check: () => {}
})

/** Adds one to a count. */
export const count = (world: World, what: string, by = 1): void => {
  world.counts.set(what, (world.counts.get(what) ?? 0) + by)
}

/** Writes a line of the trace. */
export const note = (world: World, line: string): void => {
  let { hash } = world
  for (let i = 0; i < line.length; i++) hash = Math.imul(hash ^ line.charCodeAt(i), 16_777_619)
  world.hash = Math.imul(hash ^ Math.round(world.now * 1000), 16_777_619)
  world.trace[world.traced++ % traceLines] = `${world.now.toFixed(3).padStart(12)}  ${line}`
}

/** The last lines of the trace, in order. */
export const lastLines = (world: World): ReadonlyArray<string> =>
  world.traced <= traceLines
    ? world.trace.slice(0, world.traced)
    : [...world.trace.slice(world.traced % traceLines), ...world.trace.slice(0, world.traced % traceLines)]

/** Ends the run: a rule does not hold. */
export const fail = (what: string): never => {
  throw new Violation(what)
}

const isBefore = (one: Entry, other: Entry): boolean =>
  one.at < other.at || (one.at === other.at && one.order < other.order)

const push = (queue: Array<Entry>, entry: Entry): void => {
  let index = queue.length
  queue.push(entry)
  while (index > 0) {
    const parent = (index - 1) >> 1
    if (!isBefore(entry, queue[parent]!)) break
    queue[index] = queue[parent]!
    index = parent
  }
  queue[index] = entry
}

const pop = (queue: Array<Entry>): Entry | undefined => {
  const first = queue[0]
  const last = queue.pop()
  if (last === undefined || queue.length === 0) return first
  let index = 0
  while (true) {
    let child = 2 * index + 1
    if (child >= queue.length) break
    if (child + 1 < queue.length && isBefore(queue[child + 1]!, queue[child]!)) child++
    if (!isBefore(queue[child]!, last)) break
    queue[index] = queue[child]!
    index = child
  }
  queue[index] = last
  return first
}

/** Has something happen to a process, or to the world, after a time. It does not when the process ends before. */
export const after = (
  world: World,
  process: Process | undefined,
  millis: number,
  what: string,
  run: () => void
): void => push(world.queue, { at: world.now + Math.max(0, millis), order: world.order++, process, what, run })

/** Has something happen in this moment, after what runs now. */
export const soon = (world: World, process: Process, run: () => void): void => {
  world.soon.push(() => {
    if (!process.isAlive) return
    if (process.isFrozen) process.waiting.push(run)
    else run()
  })
}

const settle = (world: World): void => {
  for (let i = 0; i < world.soon.length; i++) world.soon[i]!()
  world.soon.length = 0
}

/** The next thing happens; false when there is none, or none before `until`. */
export const step = (world: World, until: number): boolean => {
  while (true) {
    if (world.queue.length === 0 || world.queue[0]!.at > until) return false
    const entry = pop(world.queue)!
    const { at, process, run, what } = entry
    if (process !== undefined && !process.isAlive) continue
    world.now = at
    if (process !== undefined && process.isFrozen) {
      process.waiting.push(run)
      continue
    }
    if (what !== "") note(world, process === undefined ? what : `${process.name}: ${what}`)
    world.steps++
    run()
    settle(world)
    world.check(process)
    return true
  }
}

/** Starts a process on a machine. */
export const start = (world: World, name: string, machine: Machine): Process => {
  const process: Process = {
    id: ++world.processes,
    name,
    machine,
    isAlive: true,
    isFrozen: false,
    thawedAt: 0,
    waiting: [],
    onEnd: new Set()
  }
  note(world, `${name} starts`)
  return process
}

/** Ends a process: nothing happens to it any more. */
export const end = (world: World, process: Process, why: string): void => {
  if (!process.isAlive) return
  process.isAlive = false
  note(world, `${process.name} ends: ${why}`)
  for (const run of process.onEnd) run()
}

/** Stops a process. */
export const freeze = (process: Process): void => {
  process.isFrozen = true
}

/** Lets a process go on, with what has come meanwhile, in order. */
export const thaw = (world: World, process: Process): void => {
  process.isFrozen = false
  process.thawedAt = world.now
  for (const run of process.waiting.splice(0)) after(world, process, 0, "", run)
}
