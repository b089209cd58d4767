/**
 * Room for a job with a memory limit: what earlier jobs of the slot left must not count against it. Rubbish is collected
 * before such a job when there is much; where that does not help the slot is of no use for it.
 */
import * as v8 from "node:v8"

// As they are before a job can replace them.
const residentBytes = process.memoryUsage.rss
const { setFlagsFromString } = v8
const now = performance.now.bind(performance)

/** A look at the own memory costs more than a short job: after one, the next so many milliseconds go without. */
const restMillis = 5

/** What a slot knows of its memory. */
export interface MemoryRoom {
  /** When it was ready for its first job. */
  readonly baseBytes: number
  /** After the last collection. */
  floorBytes: number
  lookedAt: number
  collect: (() => void) | undefined
}

/** The room of a slot that has run no job yet. */
export const make = (): MemoryRoom => {
  const baseBytes = residentBytes()
  return { baseBytes, floorBytes: baseBytes, lookedAt: 0, collect: undefined }
}

/** V8 gives the function to new contexts once it is told to. */
const collector = (): () => void => {
  setFlagsFromString("--expose-gc")
  return process.getBuiltinModule("node:vm").runInNewContext("gc") as () => void
}

/**
 * Whether a job with this limit may be given what is left: at least half of what a fresh slot would give it. Collects
 * when a quarter has gone since the last time.
 */
export const suffices = (room: MemoryRoom, limitBytes: number): boolean => {
  const all = limitBytes - room.baseBytes
  // Not even a fresh slot has any: its node will say so.
  if (all <= 0 || now() - room.lookedAt < restMillis) return true
  const isFine = residentBytes() - room.floorBytes <= all / 4
  if (!isFine) {
    room.collect ??= collector()
    room.collect()
    room.floorBytes = residentBytes()
  }
  room.lookedAt = now()
  return isFine || room.floorBytes - room.baseBytes <= all / 2
}
