/**
 * Two networks with a router between them, in network namespaces: hosts near and
 * far, which broadcasts of the other network do not reach. Linux, root and `ip` only.
 */
import { type ChildProcess, execFileSync, spawn } from "node:child_process"
import * as fs from "node:fs"
import * as path from "node:path"
import { fileURLToPath } from "node:url"

const source = (file: string): string => path.resolve(fileURLToPath(new URL("../../", import.meta.url)), file)

/** Names of namespaces and interfaces are of this test process. */
const prefix = `dd${process.pid}`

const ip = (...words: ReadonlyArray<string>): void => {
  execFileSync("ip", words.flatMap((word) => word.split(" ")), { stdio: ["ignore", "ignore", "pipe"] })
}

/** Why there can be no such networks here; undefined when there can. */
export const missing = (): string | undefined => {
  if (process.platform !== "linux" || process.getuid?.() !== 0) return "only root can make network namespaces"
  try {
    execFileSync("ip", ["-V"], { stdio: "ignore" })
  } catch {
    return "there is no ip (apt-get install iproute2)"
  }
  return undefined
}

/** A program that runs on a host. */
export interface Running {
  /** Its first line on stdout. */
  readonly firstLine: string
  /** Everything on stdout, when it has ended. */
  readonly output: Promise<string>
  /** What it logged so far. */
  readonly log: () => string
  readonly stop: () => Promise<void>
}

/** The networks. */
export interface TwoNetworks {
  /** Adds a host to a network: 10.77.1.N or 10.77.2.N, and the same below fd77:1:: or fd77:2::. */
  readonly host: (network: 1 | 2, number: number) => string
  /** Takes a host off its network, or puts it back. */
  readonly plug: (host: string, isIn: boolean) => void
  /** Gives a name to addresses, on one host. */
  readonly name: (host: string, name: string, addresses: ReadonlyArray<string>) => void
  /** Runs a program of the sources on a host and waits for its first line. */
  readonly run: (host: string, path: string, args: ReadonlyArray<string>) => Promise<Running>
  readonly close: () => Promise<void>
}

/** Makes the router and its networks. */
export const make = (): TwoNetworks => {
  const spaces: Array<string> = []
  const children = new Map<ChildProcess, Promise<void>>()
  const space = (own: string): string => {
    ip(`netns add ${own}`)
    spaces.push(own)
    ip(`-n ${own} link set lo up`)
    // Addresses of IPv6 are to be of use at once.
    execFileSync("ip", ["netns", "exec", own, "sh", "-c", "echo 0 > /proc/sys/net/ipv6/conf/default/accept_dad"])
    return own
  }
  const router = space(`${prefix}r`)
  execFileSync("ip", [
    "netns",
    "exec",
    router,
    "sh",
    "-c",
    "echo 1 > /proc/sys/net/ipv4/ip_forward; echo 1 > /proc/sys/net/ipv6/conf/all/forwarding"
  ])
  for (const network of [1, 2]) {
    ip(`-n ${router} link add net${network} type bridge`)
    ip(`-n ${router} addr add 10.77.${network}.1/24 brd + dev net${network}`)
    ip(`-n ${router} addr add fd77:${network}::1/64 nodad dev net${network}`)
    ip(`-n ${router} link set net${network} up`)
  }

  const host: TwoNetworks["host"] = (network, number) => {
    const own = space(`${prefix}h${network}x${number}`)
    const there = `p${network}x${number}`
    ip(`-n ${router} link add ${there} type veth peer name eth0 netns ${own}`)
    ip(`-n ${router} link set ${there} master net${network} up`)
    ip(`-n ${own} addr add 10.77.${network}.${number}/24 brd + dev eth0`)
    ip(`-n ${own} addr add fd77:${network}::${number}/64 nodad dev eth0`)
    ip(`-n ${own} link set eth0 up`)
    ip(`-n ${own} route add default via 10.77.${network}.1`)
    ip(`-n ${own} route add default via fd77:${network}::1`)
    return own
  }

  const plug: TwoNetworks["plug"] = (where, isIn) => ip(`-n ${where} link set eth0 ${isIn ? "up" : "down"}`)

  // What is in this directory has the place of the files in /etc for programs that `ip` starts there.
  const configuration = (where: string): string => `/etc/netns/${where}`
  const name: TwoNetworks["name"] = (where, text, addresses) => {
    fs.mkdirSync(configuration(where), { recursive: true })
    fs.appendFileSync(
      `${configuration(where)}/hosts`,
      addresses.map((address) => `${address} ${text}\n`).join("")
    )
  }

  const run: TwoNetworks["run"] = async (where, file, args) => {
    const child = spawn("ip", ["netns", "exec", where, process.execPath, source(file), ...args], {
      stdio: ["ignore", "pipe", "pipe"]
    })
    const ended = new Promise<void>((resolve) => child.once("close", () => resolve()))
    children.set(child, ended)
    let [written, logged] = ["", ""]
    child.stderr.setEncoding("utf8").on("data", (text: string) => {
      logged += text
    })
    const firstLine = await new Promise<string>((resolve, reject) => {
      child.stdout.setEncoding("utf8").on("data", (text: string) => {
        written += text
        if (written.includes("\n")) resolve(written.split("\n")[0]!)
      })
      void ended.then(() => reject(new Error(`${file} ended before it wrote a line: ${logged}`)))
    })
    return {
      firstLine,
      output: ended.then(() => written),
      log: () => logged,
      stop: () => {
        child.kill("SIGTERM")
        return ended
      }
    }
  }

  const close = async (): Promise<void> => {
    for (const child of children.keys()) child.kill("SIGTERM")
    await Promise.all(children.values())
    for (const one of spaces.toReversed()) {
      ip(`netns del ${one}`)
      fs.rmSync(configuration(one), { recursive: true, force: true })
    }
    // The directory of all of them goes with the last.
    if (fs.existsSync("/etc/netns") && fs.readdirSync("/etc/netns").length === 0) fs.rmdirSync("/etc/netns")
  }
  return { host, plug, name, run, close }
}
