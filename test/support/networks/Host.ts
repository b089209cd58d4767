/** A machine in test networks: its addresses, the programs that run on it, and what befalls its packets. */
import * as fs from "node:fs"
import { join } from "node:path"
import { fileURLToPath } from "node:url"
import type { Outcome, Request } from "../../fixtures/networks/client.ts"
import * as Built from "../Built.ts"
import type * as Namespace from "./Namespace.ts"
import * as Packets from "./Packets.ts"
import * as Sockets from "./Sockets.ts"

const dispynode = Built.program("dispynode")
const clientProgram = fileURLToPath(new URL("../../fixtures/networks/client.ts", import.meta.url))

/** A device of a host, in one of its networks. */
export interface Link {
  readonly network: string
  readonly device: string
  readonly ipv4: string | undefined
  readonly ipv6: string | undefined
}

/** A `dispynode` that is ready. */
export interface Node {
  /** For node lists: the first address of its ready line, with the port. */
  readonly address: string
  /** What it has logged so far. */
  readonly log: () => string
  /** Asks it to end (SIGTERM), or as the signal says; resolves to its exit status. */
  readonly stop: (signal?: NodeJS.Signals) => Promise<number | null>
}

/** What befalls packets on their way, in percent of them. */
export interface Impairment {
  /** Of those that the host receives, so many are lost. */
  readonly lossPercent?: number
  /** Of the datagrams of UDP that it receives, so many are lost. */
  readonly udpLossPercent?: number
  /** IPv4 addresses of hosts from which none is lost. */
  readonly neverFrom?: ReadonlyArray<string>
  /** Of those that the host sends, so many wait in a queue of 256 kbit/s, and others overtake them. */
  readonly latePercent?: number
  /** Each packet that the host receives comes so many times more. */
  readonly copies?: number
}

/** A machine. */
export interface Host {
  readonly name: string
  /** Where its programs start, and what they take for the home and the temporary directory. */
  readonly directory: string
  readonly links: ReadonlyArray<Link>
  /** Its address in a network, of those it is in the first unless one is named; throws when it has none there. */
  readonly ipv4: (network?: string) => string
  readonly ipv6: (network?: string) => string
  readonly spawn: (command: string, args: ReadonlyArray<string>, env?: Record<string, string>) => Namespace.Program
  /** Runs a program to its end. */
  readonly run: (
    command: string,
    args: ReadonlyArray<string>,
    env?: Record<string, string>
  ) => Promise<Namespace.Ended>
  /** Runs a program that has to succeed, with this on its standard input; resolves to what it wrote to stdout. */
  readonly must: Namespace.Namespace["must"]
  /** Arguments with which `dispynode` listens on all addresses of the host but loopback. */
  readonly addressArgs: ReadonlyArray<string>
  /**
   * Starts `dispynode` with these arguments and waits for its ready line. Without arguments it is open to all: it
   * listens on `addressArgs`, and is insecure. It has one cpu unless the arguments say something else.
   */
  readonly node: (args?: ReadonlyArray<string>) => Promise<Node>
  /** Runs a client program there, which uses the nodes in every way there is (`test/fixtures/networks/client.ts`). */
  readonly client: (request: Request) => Promise<Outcome>
  /** Addresses of names, one or several each, for the programs of this host, in the place of its `/etc/hosts`. */
  readonly know: (names: Readonly<Record<string, ReadonlyArray<string>>>) => Promise<void>
  /** Resolves when the kernel calls all of its devices up, and programs see their addresses: up to a second. */
  readonly untilUp: () => Promise<void>
  /** Takes down all packets of the host from now on. */
  readonly capture: () => Promise<Packets.Capture>
  /** The sockets on which its programs listen now. */
  readonly listening: () => ReadonlyArray<Sockets.ListeningSocket>
  /** From now on all packets that the host receives, sends, or both, vanish, and nobody is told. */
  readonly cut: (direction: "both" | "in" | "out") => Promise<void>
  /** Takes back all cuts. */
  readonly mend: () => Promise<void>
  /** May be asked for once. */
  readonly impair: (impairment: Impairment) => Promise<void>
}

const cpus = (args: ReadonlyArray<string>): ReadonlyArray<string> =>
  args.some((arg) => /^(--cpus|-c)(=|$)/.test(arg)) ? [] : ["--cpus", "1"]

const iptables = ["iptables", "ip6tables"] as const

/** Class of the queue for packets that come late, and that of all others. */
const [lateClass, promptClass] = ["1:2", "1:1"]

const lateQueue = (device: string): string => `
qdisc add dev ${device} root handle 1: htb default 1
class add dev ${device} parent 1: classid ${promptClass} htb rate 10gbit quantum 60000
class add dev ${device} parent 1: classid ${lateClass} htb rate 256kbit burst 1600 quantum 1600
`

const wildDevices = "eth+"

/** Where packets vanish: table, chain and rule. */
const inward = ["raw", "PREROUTING", `-i ${wildDevices} -j DROP`] as const
const outward = ["mangle", "POSTROUTING", `-o ${wildDevices} -j DROP`] as const

/** A host with these devices, in namespaces that are made already. */
export const make = (
  name: string,
  namespace: Namespace.Namespace,
  directory: string,
  links: ReadonlyArray<Link>
): Host => {
  fs.mkdirSync(directory)
  const environment = (env: Record<string, string> = {}) => ({
    directory,
    env: { HOME: directory, TMPDIR: directory, ...env }
  })

  const addressArgs = links.flatMap(({ ipv4, ipv6 }) => [ipv4, ipv6]).flatMap((address) =>
    address === undefined ? [] : ["--ip-addr", address]
  )

  const addressIn = (family: "ipv4" | "ipv6") => (network?: string): string => {
    const link = links.find((one) => network === undefined || one.network === network)
    const address = link?.[family]
    if (address === undefined) throw new Error(`${name} has no ${family} address in ${network ?? "its network"}`)
    return address
  }

  /** A rule for both kinds of IP. */
  const rule = async (text: string): Promise<void> => {
    for (const command of iptables) await namespace.must(command, ["-w", ...text.split(" ")])
  }

  /** Rules that take back those of `cut`. */
  const cuts: Array<string> = []

  const atRandom = (percent: number): string => `-m statistic --mode random --probability ${percent / 100}`

  return {
    name,
    directory,
    links,
    ipv4: addressIn("ipv4"),
    ipv6: addressIn("ipv6"),
    spawn: (command, args, env) => namespace.spawn(command, args, environment(env)),
    run: (command, args, env) => namespace.run(command, args, environment(env)),
    must: namespace.must,

    addressArgs,

    node: async (args = [...addressArgs, "--insecure"]) => {
      const program = namespace.spawn(process.execPath, [dispynode, "--daemon", ...cpus(args), ...args], environment())
      let [ready, log] = ["", ""]
      program.stderr.setEncoding("utf8").on("data", (text: string) => {
        log += text
      })
      await new Promise<void>((resolve, reject) => {
        program.stdout.setEncoding("utf8").on("data", (text: string) => {
          ready += text
          if (ready.includes("\n")) resolve()
        })
        const early = (status: unknown): void =>
          reject(new Error(`dispynode of ${name} ended with ${String(status)} before it was ready: ${log}`))
        program.ended.then(early, early)
      })
      const address = / ready on (\S+?):? /.exec(ready)?.[1]
      if (address === undefined) throw new Error(`dispynode of ${name} is ready, but where? ${ready}`)
      return {
        address,
        log: () => log,
        stop: (signal = "SIGTERM") => {
          program.kill(signal)
          return program.ended
        }
      }
    },

    client: async (request) => {
      const place = fs.mkdtempSync(join(directory, "client-"))
      const { status, stderr, stdout } = await namespace.run(
        process.execPath,
        [clientProgram, JSON.stringify(request)],
        { ...environment(), directory: place }
      )
      if (status !== 0) throw new Error(`the client on ${name} ended with ${status}: ${stderr}${stdout}`)
      return { ...JSON.parse(stdout) as Omit<Outcome, "log">, log: stderr }
    },

    know: async (names) => {
      const file = join(directory, "hosts")
      const lines = Object.entries({ localhost: ["127.0.0.1", "::1"], [name]: ["127.0.1.1"], ...names })
        .flatMap(([known, addresses]) => addresses.map((address) => `${address} ${known}\n`))
      fs.writeFileSync(file, lines.join(""))
      await namespace.must("mount", ["--bind", file, "/etc/hosts"])
    },

    untilUp: async () => {
      for (const { device } of links) {
        while (!(await namespace.must("ip", ["-o", "link", "show", "dev", device])).includes("state UP")) {
          await new Promise((resolve) => setTimeout(resolve, 20))
        }
      }
    },

    capture: () => Packets.capture(namespace),
    cut: async (direction) => {
      for (const [one, table] of [["in", inward], ["out", outward]] as const) {
        if (direction !== "both" && direction !== one) continue
        const [hook, chain, where] = table
        await rule(`-t ${hook} -I ${chain} ${where}`)
        cuts.push(`-t ${hook} -D ${chain} ${where}`)
      }
    },
    mend: async () => {
      for (const cut of cuts.splice(0)) await rule(cut)
    },
    listening: () => Sockets.listeningOf(namespace.pid),

    impair: async ({ copies = 0, latePercent = 0, lossPercent = 0, neverFrom = [], udpLossPercent = 0 }) => {
      for (const address of neverFrom) {
        await namespace.must("iptables", `-w -t raw -A PREROUTING -s ${address} -j ACCEPT`.split(" "))
      }
      // Before copies are made: what is lost has none.
      if (lossPercent > 0) await rule(`-t raw -A PREROUTING -i ${wildDevices} ${atRandom(lossPercent)} -j DROP`)
      if (udpLossPercent > 0) {
        await rule(`-t raw -A PREROUTING -i ${wildDevices} -p udp ${atRandom(udpLossPercent)} -j DROP`)
      }
      if (latePercent > 0) {
        await namespace.must("tc", ["-batch", "-"], links.map(({ device }) => lateQueue(device)).join(""))
        await rule(
          `-t mangle -A POSTROUTING -o ${wildDevices} ${atRandom(latePercent)} -j CLASSIFY --set-class ${lateClass}`
        )
      }
      // A copy is sent to the host itself, over loopback, where it arrives as what it is.
      for (const [command, self] of [["iptables", "127.0.0.1"], ["ip6tables", "::1"]] as const) {
        for (let copy = 0; copy < copies; copy++) {
          const teeing = `-w -t mangle -A PREROUTING -i ${wildDevices} -j TEE --gateway ${self}`
          await namespace.must(command, teeing.split(" "))
        }
      }
    }
  }
}
