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
import { connectPeer } from "./tcpEcho.ts"

const mebibyte = 1024 * 1024
const pieceBytes = mebibyte / 2

/** MiB per second from file to file. */
export const measure = async ({ isQuick }: StepOptions): Promise<Metrics> => {
  const directory = fs.mkdtempSync(join(fs.existsSync("/dev/shm") ? "/dev/shm" : tmpdir(), "dispy-bench-"))
  const file = join(directory, "pumped")
  const size = (isQuick ? 300 : 1000) * mebibyte
  fs.writeFileSync(file, Buffer.alloc(size, "dispy"))
  const [peer, socket] = await connectPeer("store", join(directory, "stored"), String(size))
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
  socket.destroy()
  peer.disconnect()
  await once(peer, "exit")
  fs.rmSync(directory, { recursive: true })
  if (!told.equals(hash.digest())) throw new Error("something else arrived")
  return { throughput: size / mebibyte / seconds }
}
