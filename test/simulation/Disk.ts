/**
 * A simulated disk: what is written is there when its process dies, and only what was confirmed is sure to be there when
 * the machine loses its power. Of the rest a part may be there, or zeros may be where it was. It can be full.
 */
import { concat } from "../../src/domain/wire/Bytes.ts"
import * as Random from "./Random.ts"

/** A file. */
interface File {
  bytes: Uint8Array
  /** Bytes that were confirmed. */
  synced: number
}

/** See above. */
export interface Disk {
  readonly files: Map<string, File>
  isFull: boolean
}

/** An empty disk. */
export const make = (): Disk => ({ files: new Map(), isFull: false })

/** Writes at a place of a file that may not be there yet; false when it does not fit, though a part of it may be there. */
export const write = (
  random: Random.Random,
  disk: Disk,
  path: string,
  position: number,
  bytes: Uint8Array
): boolean => {
  const file = disk.files.get(path) ?? { bytes: new Uint8Array(0), synced: 0 }
  disk.files.set(path, file)
  const count = disk.isFull ? Random.int(random, 0, Math.max(0, bytes.length - 1)) : bytes.length
  file.bytes = concat([file.bytes.subarray(0, position), bytes.subarray(0, count)])
  return count === bytes.length
}

/** Appends to a file. */
export const append = (random: Random.Random, disk: Disk, path: string, bytes: Uint8Array): boolean =>
  write(random, disk, path, disk.files.get(path)?.bytes.length ?? 0, bytes)

/** Confirms the first bytes of a file. */
export const sync = (disk: Disk, path: string, bytes: number): void => {
  const file = disk.files.get(path)
  if (file !== undefined) file.synced = Math.max(file.synced, Math.min(bytes, file.bytes.length))
}

/** What is in a file; undefined when there is none. */
export const read = (disk: Disk, path: string): Uint8Array | undefined => disk.files.get(path)?.bytes

/** Names of the files that begin with this. */
export const list = (disk: Disk, prefix: string): ReadonlyArray<string> =>
  [...disk.files.keys()].filter((path) => path.startsWith(prefix)).toSorted()

/** The machine loses its power. */
export const powerLoss = (random: Random.Random, disk: Disk): void => {
  for (const [path, file] of disk.files) {
    const { bytes, synced } = file
    const length = Random.int(random, synced, bytes.length)
    if (length === 0) {
      disk.files.delete(path)
      continue
    }
    const left = bytes.slice(0, length)
    // Blocks whose size was written and whose content was not.
    if (length > synced && Random.chance(random, 0.3)) left.fill(0, Random.int(random, synced, length))
    file.bytes = left
    file.synced = left.length
  }
}
