/** A node in a network namespace of its own, behind a link of a given speed. Linux, root, `ip` and `tc` only. */
import { execFileSync, spawn } from "node:child_process"
import { fileURLToPath } from "node:url"

const source = fileURLToPath(new URL("../../src/programs/dispynode.ts", import.meta.url))

const run = (command: string): void => {
  const [name, ...args] = command.split(" ")
  execFileSync(name!, args, { stdio: "ignore" })
}

/** Why there can be no such link here; undefined when there can. */
export const missing = (): string | undefined => {
  if (process.platform !== "linux" || process.getuid?.() !== 0) return "only root can shape links"
  for (const tool of ["ip", "tc"]) {
    try {
      execFileSync(tool, ["-V"], { stdio: "ignore" })
    } catch {
      return `there is no ${tool} (apt-get install iproute2)`
    }
  }
  return undefined
}

/** A node behind a slow link. */
export interface SlowNode {
  readonly address: string
  readonly stop: () => Promise<void>
}

/** Starts it; both directions carry `rate` (as `tc` writes it) and queue a second of that. `program` is dispynode's. */
export const start = async (rate: string, prefix: string, program = source): Promise<SlowNode> => {
  const name = `dispy${process.pid}`
  const [ours, theirs] = [`d${process.pid}a`, `d${process.pid}b`]
  const [us, them] = ["10.213.77.1", "10.213.77.2"]
  const clean = (): void => {
    try {
      run(`ip netns del ${name}`)
    } catch {
      // It was not made.
    }
  }
  try {
    run(`ip netns add ${name}`)
    run(`ip link add ${ours} type veth peer name ${theirs}`)
    run(`ip link set ${theirs} netns ${name}`)
    run(`ip addr add ${us}/30 dev ${ours}`)
    run(`ip link set ${ours} up`)
    run(`ip netns exec ${name} ip addr add ${them}/30 dev ${theirs}`)
    run(`ip netns exec ${name} ip link set ${theirs} up`)
    run(`ip netns exec ${name} ip link set lo up`)
    const shape = `root tbf rate ${rate} burst 16kb latency 1000ms`
    run(`tc qdisc add dev ${ours} ${shape}`)
    run(`ip netns exec ${name} tc qdisc add dev ${theirs} ${shape}`)
  } catch (error) {
    clean()
    throw error
  }
  const args = ["--ip-addr", them, "--insecure", "--daemon", "--port", "0", "--cpus", "1", "--dest-path-prefix", prefix]
  const child = spawn("ip", ["netns", "exec", name, process.execPath, program, ...args], {
    stdio: ["ignore", "pipe", "pipe"]
  })
  const exited = new Promise<void>((resolve) => child.once("exit", () => resolve()))
  const port = await new Promise<string>((resolve, reject) => {
    let text = ""
    child.stdout.setEncoding("utf8").on("data", (more: string) => {
      text += more
      const found = /:(\d+): 1 cpu/.exec(text)?.[1]
      if (found !== undefined) resolve(found)
    })
    child.once("exit", (code) => reject(new Error(`dispynode ended with ${code}: ${text}`)))
  })
  child.stderr.resume()
  const stop = async (): Promise<void> => {
    child.kill("SIGTERM")
    await exited
    clean()
  }
  return { address: `${them}:${port}`, stop }
}
