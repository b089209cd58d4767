/** The other end of a raw socket: echoes everything, or takes everything and sends one byte back per MiB. */
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

const serve = process.argv[2] === "echo" ? echo : sink
const server = createServer({ noDelay: true }, (socket) => {
  socket.on("error", () => socket.destroy())
  serve(socket)
})
server.listen(0, "127.0.0.1", () => {
  const address = server.address()
  if (typeof address === "object" && address !== null) process.send!(address.port)
})
process.on("disconnect", () => process.exit(0))
