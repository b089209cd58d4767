/**
 * FIFOs from which slots claim their jobs, one byte per job. The node writes a byte
 * for every job it sends, and takes jobs back by reading bytes itself: the kernel
 * gives each byte to one of the two.
 */
import * as fs from "node:fs"
import type { Fifo } from "./Fifos.ts"

const bytes = new Uint8Array(1024)

/** Lets the slot claim `count` more jobs. */
export const grant = (claims: Fifo, count: number): void => {
  for (let left = count; left > 0; left -= bytes.length) {
    fs.writeSync(claims.descriptor, bytes, 0, Math.min(left, bytes.length))
  }
}

/** Takes back all jobs that are not claimed, and says how many. */
export const takeBack = (claims: Fifo): number => {
  for (let count = 0;;) {
    try {
      count += fs.readSync(claims.descriptor, bytes, 0, bytes.length, null)
    } catch {
      // EAGAIN: there is nothing left.
      return count
    }
  }
}
