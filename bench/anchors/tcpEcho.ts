/** Raw TCP through one other process: what a round trip costs at least. */
import { type ChildProcess, fork } from "node:child_process"
import { once } from "node:events"
import { connect, type Socket } from "node:net"
import { latencies, type Metrics, type StepOptions } from "../support/Drive.ts"
import { quantile } from "../support/Statistics.ts"

/** Starts a peer of the given kind and connects to it. */
export const connectPeer = async (
  kind: "echo" | "sink" | "store",
  ...args: ReadonlyArray<string>
): Promise<readonly [ChildProcess, Socket]> => {
  const peer = fork(new URL("./tcpPeer.ts", import.meta.url), [kind, ...args], { execArgv: [] })
  const [port] = await once(peer, "message") as [number]
  const socket = connect({ port, host: "127.0.0.1", noDelay: true })
  await once(socket, "connect")
  return [peer, socket]
}

/** Milliseconds per round trip of 64 bytes: back to back, and 5 ms after the one before. */
export const measure = async ({ isQuick }: StepOptions): Promise<Metrics> => {
  const [peer, socket] = await connectPeer("echo")
  const message = Buffer.alloc(64)
  let received: () => void = () => {}
  let missing = 0
  socket.on("data", (chunk) => {
    missing -= chunk.length
    if (missing === 0) received()
  })
  const call = (): Promise<void> =>
    new Promise((resolve) => {
      missing = message.length
      received = resolve
      socket.write(message)
    })
  await latencies(call, 1000, 0)
  const busy = await latencies(call, isQuick ? 2000 : 5000, 0)
  const paused = await latencies(call, isQuick ? 100 : 200, 5)
  socket.destroy()
  peer.disconnect()
  await once(peer, "exit")
  return {
    p50: quantile(busy, 0.5),
    p99: quantile(busy, 0.99),
    pausedP50: quantile(paused, 0.5)
  }
}
