/**
 * The other end of a raw socket: echoes everything; takes everything and sends one byte back per MiB; or takes
 * a file, stores it and sends its hash back.
 */
import { createHash } from "node:crypto"
import * as fs from "node:fs"
import { createServer, type Socket } from "node:net"

const mebibyte = 1024 * 1024

const echo = (socket: Socket): void => {
  socket.on("data", (chunk) => socket.write(chunk))
}

const sink = (socket: Socket): void => {
  let bytes = 0
  socket.on("data", (chunk) => {
    const before = Math.floor(bytes / mebibyte)
    bytes += chunk.length
    const whole = Math.floor(bytes / mebibyte) - before
    if (whole > 0) socket.write(Buffer.alloc(whole))
  })
}

const store = (socket: Socket): void => {
  const [file, size] = process.argv.slice(3)
  const hash = createHash("sha256")
  const fd = fs.openSync(file!, "w")
  let left = Number(size)
  socket.on("data", (chunk: Buffer) => {
    hash.update(chunk)
    fs.writeSync(fd, chunk)
    left -= chunk.length
    if (left === 0) socket.write(hash.digest())
  })
}

const serve = { echo, sink, store }[process.argv[2] as "echo" | "sink" | "store"]
const server = createServer({ noDelay: true }, (socket) => {
  socket.on("error", () => socket.destroy())
  serve(socket)
})
server.listen(0, "127.0.0.1", () => {
  const address = server.address()
  if (typeof address === "object" && address !== null) process.send!(address.port)
})
process.on("disconnect", () => process.exit(0))
