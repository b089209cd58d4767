/**
 * What a file through a socket costs at least on this machine: read, hashed, sent; received, hashed, written. Two plain
 * loops without frames, windows, limits or checks.
 */
import { createHash } from "node:crypto"
import { once } from "node:events"
import * as fs from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import type { Metrics, StepOptions } from "../support/Drive.ts"
import { quantile } from "../support/Statistics.ts"
import { connectPeer } from "./tcpEcho.ts"

const mebibyte = 1024 * 1024
const pieceBytes = mebibyte / 2

/** Seconds for a file of this size into another process. */
const pumpOnce = async (file: string, size: number): Promise<number> => {
  const [peer, socket] = await connectPeer("store", `${file}-stored`, String(size))
  const buffers = Array.from({ length: 16 }, () => Buffer.allocUnsafeSlow(pieceBytes))
  const fd = fs.openSync(file, "r")
  const hash = createHash("sha256")
  const start = performance.now()
  const pump = (): void => {
    for (let buffer = buffers.pop(); buffer !== undefined; buffer = buffers.pop()) {
      const used = buffer
      const piece = used.subarray(0, fs.readSync(fd, used))
      if (piece.length === 0) return
      hash.update(piece)
      socket.write(piece, () => {
        buffers.push(used)
        pump()
      })
    }
  }
  pump()
  const [told] = await once(socket, "data") as [Buffer]
  const seconds = (performance.now() - start) / 1000
  fs.closeSync(fd)
  socket.destroy()
  peer.disconnect()
  await once(peer, "exit")
  if (!told.equals(hash.digest())) throw new Error("something else arrived")
  return seconds
}

/** MiB per second from file to file. */
export const measure = async ({ isQuick }: StepOptions): Promise<Metrics> => {
  const directory = fs.mkdtempSync(join(fs.existsSync("/dev/shm") ? "/dev/shm" : tmpdir(), "dispy-bench-"))
  const file = join(directory, "pumped")
  const size = isQuick ? 300 : 1000
  fs.writeFileSync(file, Buffer.alloc(size * mebibyte, "dispy"))
  try {
    const speeds: Array<number> = []
    for (let i = 0; i < 3; i++) speeds.push(size / (await pumpOnce(file, size * mebibyte)))
    return { throughput: quantile(speeds, 0.5) }
  } finally {
    fs.rmSync(directory, { recursive: true })
  }
}
