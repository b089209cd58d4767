/**
 * Nodes behind ssh: each node listens on its own loopback only, ssh carries the connections. All of them are opened by
 * the client, so forwarding one port per node in the client's direction is enough, and nothing is forwarded back.
 *
 * On each host: `npx dispynode`, and an `sshd` that lets you log in without a password. Then, on your machine:
 * `node examples/sshForwarding.ts HOST …`
 */
import { createJobCluster } from "dispy/promise"
import { type ChildProcess, spawn } from "node:child_process"
import { once } from "node:events"
import { createServer } from "node:net"
import { main, Problem, UsageError } from "./support/main.ts"

/** A node's port, unless it was started with another one. */
const nodePort = 51348

/** A port of this machine's loopback that nothing uses. */
const freePort = async (): Promise<number> => {
  const server = createServer().listen(0, "127.0.0.1")
  await once(server, "listening")
  const address = server.address()
  server.close()
  await once(server, "close")
  return typeof address === "object" && address !== null ? address.port : 0
}

/** A node that can be reached at a port of this machine for as long as the `ssh` runs. */
interface Tunnel {
  readonly ssh: ChildProcess
  readonly node: string
}

/** Forwards a port to the host's node. The command there tells that ssh is ready, and ends when this program does. */
const open = async (host: string, signal: AbortSignal): Promise<Tunnel> => {
  const port = await freePort()
  const forward = `127.0.0.1:${port}:localhost:${nodePort}`
  const options = ["-T", "-o", "ExitOnForwardFailure=yes", "-L", forward]
  const ssh = spawn("ssh", [...options, "--", host, "echo ready; cat"], { stdio: ["pipe", "pipe", "inherit"] })
  const isReady = await Promise.race([
    once(ssh.stdout, "data", { signal }).then(() => true),
    once(ssh, "exit").then(() => false)
  ])
  if (!isReady) throw new Problem(`ssh to ${host} did not get through; does \`ssh ${host} true\` work?`)
  return { ssh, node: `127.0.0.1:${port}` }
}

/** Runs on the nodes. */
async function whereAmI(job: number) {
  const { hostname } = await import("node:os")
  return `job ${job} ran on ${hostname()}`
}

await main("node examples/sshForwarding.ts HOST ...", async (signal) => {
  const hosts = process.argv.slice(2)
  if (hosts.length === 0) throw new UsageError("which hosts?")
  const tunnels: Array<Tunnel> = []
  try {
    for (const host of hosts) tunnels.push(await open(host, signal))
    await using cluster = await createJobCluster(whereAmI, { nodes: tunnels.map(({ node }) => node) })
    for await (const line of cluster.map([1, 2, 3, 4], { signal })) console.log(line)
  } finally {
    for (const { ssh } of tunnels) ssh.kill()
  }
  return 0
})
