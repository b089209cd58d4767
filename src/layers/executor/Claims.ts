/**
 * FIFOs from which slots claim their jobs, one byte per job. The node writes a byte
 * for every job it sends, and takes jobs back by reading bytes itself: the kernel
 * gives each byte to one of the two. Opened for reading and writing and without
 * blocking, so that neither side ever waits for the other.
 */
import { execFile } from "node:child_process"
import * as fs from "node:fs"
import * as path from "node:path"

/** An open FIFO. */
export interface Claims {
  readonly path: string
  readonly descriptor: number
}

/** Makes FIFOs ahead of time. */
export interface ClaimsMaker {
  readonly directory: string
  readonly ready: Array<string>
  count: number
  making: Promise<void> | undefined
}

/** FIFOs made with one process. */
const batchSize = 16

/**
 * A maker whose FIFOs are files of this directory; undefined where there is no `mkfifo`, as on Windows, or the file
 * system has no FIFOs: then no job is sent ahead of time and none has to be claimed.
 */
export const make = async (directory: string): Promise<ClaimsMaker | undefined> => {
  if (process.platform === "win32") return undefined
  const maker: ClaimsMaker = { directory, ready: [], count: 0, making: undefined }
  return more(maker).then(() => maker, () => undefined)
}

const more = (maker: ClaimsMaker): Promise<void> =>
  maker.making ??= new Promise<void>((resolve, reject) => {
    const paths: Array<string> = []
    for (let i = 0; i < batchSize; i++) paths.push(path.join(maker.directory, `claims-${++maker.count}`))
    execFile("mkfifo", ["-m", "600", ...paths], (error) => {
      maker.making = undefined
      if (error !== null) return reject(error)
      maker.ready.push(...paths)
      resolve()
    })
  })

/** Opens the next FIFO. */
export const open = async (maker: ClaimsMaker): Promise<Claims> => {
  while (maker.ready.length === 0) await more(maker)
  const file = maker.ready.shift()!
  return { path: file, descriptor: fs.openSync(file, fs.constants.O_RDWR | fs.constants.O_NONBLOCK) }
}

const bytes = new Uint8Array(1024)

/** Lets the slot claim `count` more jobs. */
export const grant = (claims: Claims, count: number): void => {
  for (let left = count; left > 0; left -= bytes.length) {
    fs.writeSync(claims.descriptor, bytes, 0, Math.min(left, bytes.length))
  }
}

/** Takes back all jobs that are not claimed, and says how many. */
export const takeBack = (claims: Claims): number => {
  for (let count = 0;;) {
    try {
      count += fs.readSync(claims.descriptor, bytes, 0, bytes.length, null)
    } catch {
      // EAGAIN: there is nothing left.
      return count
    }
  }
}

/** The slot has it open: the file is needed no more. */
export const unlink = (claims: Claims): void => fs.rmSync(claims.path, { force: true })

/** Gives up the FIFO. */
export const close = (claims: Claims): void => {
  unlink(claims)
  fs.closeSync(claims.descriptor)
}
