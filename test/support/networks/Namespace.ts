/**
 * Linux namespaces (network, processes, mounts, host name) that live as long as their first process. That one ends
 * when its standard input does, and then the kernel kills all others in them and removes devices, addresses, rules
 * and mounts. So nothing of them outlives the test process, however that ends, and nothing of them has a name that
 * could be taken: not in the file system, not among the machine's own devices and addresses.
 */
import { type ChildProcess, type ChildProcessWithoutNullStreams, execFileSync, spawn } from "node:child_process"
import * as fs from "node:fs"
import { text } from "node:stream/consumers"

/** How a program ended, and what it wrote. */
export interface Ended {
  /** Exit status; null after a signal. */
  readonly status: number | null
  readonly stdout: string
  readonly stderr: string
}

/** A program that was started in namespaces. */
export interface Program {
  readonly stdin: ChildProcessWithoutNullStreams["stdin"]
  readonly stdout: ChildProcessWithoutNullStreams["stdout"]
  readonly stderr: ChildProcessWithoutNullStreams["stderr"]
  /** To the program, not to what it started. Without effect when it has ended. */
  readonly kill: (signal: NodeJS.Signals) => void
  /** Exit status, when it has ended and everything that it wrote was read; null after a signal. */
  readonly ended: Promise<number | null>
}

/** How to start a program. */
export interface ProgramOptions {
  readonly env?: Readonly<Record<string, string>> | undefined
  readonly directory?: string | undefined
}

/** A set of namespaces. */
export interface Namespace {
  /** Process id of its first process, as this process sees it. */
  readonly pid: number
  readonly spawn: (command: string, args: ReadonlyArray<string>, options?: ProgramOptions) => Program
  /** Runs a program to its end. */
  readonly run: (
    command: string,
    args: ReadonlyArray<string>,
    options?: ProgramOptions & { readonly input?: string }
  ) => Promise<Ended>
  /** Runs a program that has to succeed; rejects with what it wrote to stderr. */
  readonly must: (command: string, args: ReadonlyArray<string>, input?: string) => Promise<string>
  /** Runs commands of `ip`, one a line, in its network; process ids are those that this process sees. */
  readonly ip: (commands: string) => Promise<void>
  /** Ends everything in it; resolves when no process is left. */
  readonly close: () => Promise<void>
}

const flags = ["--net", "--mount", "--uts", "--ipc", "--pid"]

/** Why there can be no namespaces here; undefined when there can. */
export const missing = (): string | undefined => {
  if (process.platform !== "linux") return "only Linux has network namespaces"
  if (process.getuid?.() !== 0) return "only root can make network namespaces"
  try {
    execFileSync("unshare", [...flags, "--fork", "--mount-proc", "true"], { stdio: "pipe" })
    return undefined
  } catch (error) {
    return `no namespaces can be made (${String(Reflect.get(error as object, "stderr") ?? error).trim()})`
  }
}

/** Processes that a process started and that are there. */
const childrenOf = (pid: number): ReadonlyArray<number> => {
  try {
    return fs.readFileSync(`/proc/${pid}/task/${pid}/children`, "utf8").split(" ").filter(Boolean).map(Number)
  } catch {
    // It has ended.
    return []
  }
}

/** `nsenter` waits for the program in a process of its own: signals are for the program. */
const killThrough = (entered: ChildProcess, signal: NodeJS.Signals): void => {
  if (entered.exitCode !== null || entered.signalCode !== null) return
  const [program] = childrenOf(entered.pid!)
  if (program === undefined) entered.kill(signal)
  else process.kill(program, signal)
}

/**
 * What the first process does: IPv6 addresses are used at once instead of being tested for a second, and no router is
 * asked for others. The shell waits for the end of its input and meanwhile buries the processes that lost their parent.
 */
const first = `
hostname "$1"
for kind in all default; do
  for setting in accept_dad accept_ra; do echo 0 >/proc/sys/net/ipv6/conf/$kind/$setting; done
done 2>/dev/null
ip link set lo up
echo ready
read -r
`

/** Makes namespaces in which the machine has this name. */
export const make = async (name: string): Promise<Namespace> => {
  const holder = spawn(
    "unshare",
    [...flags, "--fork", "--kill-child", "--mount-proc", "bash", "-c", first, "-", name],
    {
      stdio: ["pipe", "pipe", "pipe"]
    }
  )
  const gone = new Promise<void>((resolve) => holder.once("exit", () => resolve()))
  const complaint = text(holder.stderr)
  await Promise.race([
    new Promise((resolve) => holder.stdout.once("data", resolve)),
    gone.then(async () => Promise.reject(new Error(`no namespaces for ${name}: ${await complaint}`)))
  ])
  const [pid] = childrenOf(holder.pid!)
  if (pid === undefined) throw new Error(`the namespaces of ${name} are gone already`)

  const enter = (
    which: ReadonlyArray<string>,
    command: string,
    args: ReadonlyArray<string>,
    { directory, env }: ProgramOptions = {}
  ): Program => {
    const place = directory === undefined ? [] : [`--chdir=${directory}`]
    const child = spawn("nsenter", ["--target", `${pid}`, ...which, "env", ...place, command, ...args], {
      env: { ...process.env, ...env }
    })
    child.stdin.on("error", () => {
      // The program did not read all of it, which is its own matter.
    })
    const ended = new Promise<number | null>((resolve, reject) => {
      child.once("error", reject).once("close", (status) => resolve(status))
    })
    ended.catch(() => {})
    return {
      stdin: child.stdin,
      stdout: child.stdout,
      stderr: child.stderr,
      kill: (signal) => killThrough(child, signal),
      ended
    }
  }

  const finish = async (program: Program, input: string | undefined): Promise<Ended> => {
    program.stdin.end(input)
    const [stdout, stderr, status] = await Promise.all([text(program.stdout), text(program.stderr), program.ended])
    return { status, stdout, stderr }
  }

  const successful = ({ status, stderr, stdout }: Ended, what: string): string => {
    if (status === 0) return stdout
    throw new Error(`in ${name}, ${what} ended with ${status}: ${stderr}`)
  }

  const inAll: Namespace["spawn"] = (...started) => enter(flags, ...started)

  return {
    pid,
    spawn: inAll,
    run: (command, args, options) => finish(inAll(command, args, options), options?.input),
    must: async (command, args, input) =>
      successful(await finish(inAll(command, args), input), [command, ...args].join(" ")),
    ip: async (commands) => {
      successful(await finish(enter(["--net"], "ip", ["-batch", "-"]), commands), `ip with ${commands}`)
    },
    close: async () => {
      holder.stdin.end()
      await gone
    }
  }
}
