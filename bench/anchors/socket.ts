/** Raw socket throughput to another process on loopback. */
import { once } from "node:events"
import type { Metrics, StepOptions } from "../support/Drive.ts"
import { connectPeer } from "./tcpEcho.ts"

const mebibyte = 1024 * 1024

/** MiB per second that arrive at the other end. */
export const measure = async ({ isQuick }: StepOptions): Promise<Metrics> => {
  const [peer, socket] = await connectPeer("sink")
  const chunk = Buffer.alloc(mebibyte)
  const send = async (count: number): Promise<number> => {
    let missing = count
    const { promise, resolve } = Promise.withResolvers<void>()
    const onData = (bytes: Buffer): void => {
      missing -= bytes.length
      if (missing === 0) resolve()
    }
    socket.on("data", onData)
    const start = performance.now()
    for (let i = 0; i < count; i++) {
      if (!socket.write(chunk)) await once(socket, "drain")
    }
    await promise
    socket.off("data", onData)
    return count / ((performance.now() - start) / 1000)
  }
  await send(256)
  const throughput = await send(isQuick ? 512 : 2048)
  socket.destroy()
  peer.disconnect()
  await once(peer, "exit")
  return { throughput }
}
