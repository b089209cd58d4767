/**
 * FIFOs of the node's directory, made ahead of time, several with one `mkfifo`.
 * The node opens them for reading and writing and without blocking, so that
 * neither side ever waits for the other to open.
 */
import { execFile } from "node:child_process"
import * as fs from "node:fs"
import * as path from "node:path"

/** An open FIFO. */
export interface Fifo {
  readonly path: string
  readonly descriptor: number
}

/** Makes FIFOs. */
export interface FifoMaker {
  readonly directory: string
  readonly ready: Array<string>
  count: number
  making: Promise<void> | undefined
}

/** FIFOs made with one process. */
const batchSize = 16

/**
 * A maker whose FIFOs are files of this directory; undefined where there is no `mkfifo`, as on Windows, or the file
 * system has no FIFOs: then no job is sent ahead of time and none has to be claimed, and there are no threads.
 */
export const make = async (directory: string): Promise<FifoMaker | undefined> => {
  if (process.platform === "win32") return undefined
  const maker: FifoMaker = { directory, ready: [], count: 0, making: undefined }
  return more(maker).then(() => maker, () => undefined)
}

const more = (maker: FifoMaker): Promise<void> =>
  maker.making ??= new Promise<void>((resolve, reject) => {
    const paths: Array<string> = []
    for (let i = 0; i < batchSize; i++) paths.push(path.join(maker.directory, `fifo-${++maker.count}`))
    execFile("mkfifo", ["-m", "600", ...paths], (error) => {
      maker.making = undefined
      if (error !== null) return reject(error)
      maker.ready.push(...paths)
      resolve()
    })
  })

/** Opens the next FIFO. */
export const open = async (maker: FifoMaker): Promise<Fifo> => {
  while (maker.ready.length === 0) await more(maker)
  const file = maker.ready.shift()!
  return { path: file, descriptor: fs.openSync(file, fs.constants.O_RDWR | fs.constants.O_NONBLOCK) }
}

/** The slot has it open: the file is needed no more. */
export const unlink = (fifo: Fifo): void => fs.rmSync(fifo.path, { force: true })

/** Gives up the FIFO. */
export const close = (fifo: Fifo): void => {
  unlink(fifo)
  fs.closeSync(fifo.descriptor)
}
