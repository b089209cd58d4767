/**
 * Networks of several machines for tests, made of Linux namespaces: switches, hosts in one network or in several,
 * routers with and without NAT, IPv4, IPv6 and both. Addresses are 10.213.N.0/24 and fd00:213:N::/64 for the
 * Nth network, and the same in every test: nothing of a test's networks can be seen or reached from outside of
 * them, nor from other tests, and nothing is left when the test process ends or is killed.
 *
 * Linux and root only; `missing` says what is not there.
 */
import { execFileSync } from "node:child_process"
import * as fs from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { isRunning } from "../Processes.ts"
import * as Host from "./Host.ts"
import * as Namespace from "./Namespace.ts"
import * as SshServer from "./SshServer.ts"

/** What a network speaks. */
export type Family = "ipv4" | "ipv6" | "both"

/** A switch, to which hosts are connected. */
export interface Network {
  readonly name: string
  readonly family: Family
  /** From now on datagrams of UDP vanish on their way between hosts, and nobody is told. */
  readonly blockUdp: () => Promise<void>
}

/** A machine that passes packets on between its networks. */
export interface Router extends Host.Host {
  /** Of a router with NAT: connections to this port of its outer address go to that of a host inside. */
  readonly forward: (port: number, host: Host.Host) => Promise<void>
}

/** How a router does it. */
export interface RouterOptions {
  /**
   * The network that is outside. What comes from the other networks goes there under the router's own address, and
   * nobody there knows a way inside.
   */
  readonly masquerade?: Network
}

/** Makes networks. */
export interface Networks {
  /** A network; IPv4 unless something else is said. */
  readonly network: (name: string, family?: Family) => Promise<Network>
  /** A host with a device in each of these networks: eth0, eth1 … */
  readonly host: (name: string, ...networks: ReadonlyArray<Network>) => Promise<Host.Host>
  /** A router between networks. The hosts of all networks but the outer one send through it what is for elsewhere. */
  readonly router: (name: string, networks: ReadonlyArray<Network>, options?: RouterOptions) => Promise<Router>
  /** An `sshd` on a host. */
  readonly sshd: (host: Host.Host) => Promise<SshServer.SshServer>
  /** Ends all programs on all hosts, and all of what was made. */
  readonly close: () => Promise<void>
}

const tools = {
  iptables: "iptables",
  tc: "iproute2",
  tcpdump: "tcpdump",
  sshd: "openssh-server",
  ssh: "openssh-client"
}

/** A program that not all tests need. */
export type Tool = keyof typeof tools

const isInstalled = (tool: string): boolean => {
  if (tool === "sshd") return SshServer.installed() !== undefined
  try {
    execFileSync("sh", ["-c", `command -v ${tool}`], { stdio: "ignore" })
    return true
  } catch {
    return false
  }
}

/** Why there can be no such networks here, in a sentence; undefined when there can. Names of tools: they are needed too. */
export const missing = (...needed: ReadonlyArray<Tool>): string | undefined => {
  const impossible = Namespace.missing()
  if (impossible !== undefined) return impossible
  if (!isInstalled("ip")) return "there is no ip (apt-get install iproute2)"
  const absent = needed.find((tool) => !isInstalled(tool))
  return absent === undefined ? undefined : `there is no ${absent} (apt-get install ${tools[absent]})`
}

/** Directories of hosts are named after the process that uses them. */
const prefix = "dispy-networks-"

/** Removes directories that killed processes left; namespaces need no such thing. */
const removeStale = (): void => {
  for (const name of fs.readdirSync(tmpdir())) {
    const pid = Number(new RegExp(`^${prefix}(\\d+)-`).exec(name)?.[1] ?? 0)
    if (pid > 0 && !isRunning(pid)) fs.rmSync(join(tmpdir(), name), { recursive: true, force: true })
  }
}

/** What is known of a network while it grows. */
interface Switch {
  readonly name: string
  readonly family: Family
  readonly namespace: Namespace.Namespace
  readonly number: number
  readonly members: Array<{ readonly namespace: Namespace.Namespace; readonly link: Host.Link }>
  /** Addresses of the router; empty without one. */
  readonly routes: Array<string>
}

/** Default routes over a router's addresses in a network; of several, that of the network made first counts. */
const defaultRoutes = ({ number }: Switch, gateways: ReadonlyArray<string>): string =>
  gateways.map((gateway) =>
    `route add ${gateway.includes(":") ? "::/0" : "0.0.0.0/0"} via ${gateway} metric ${number}\n`
  ).join("")

/** Connects namespaces to a network; the device is eth0, eth1 … there and port1, port2 … of the switch. */
const connect = async (lan: Switch, namespace: Namespace.Namespace, device: string): Promise<Host.Link> => {
  const member = lan.members.length + 1
  if (member > 254) throw new Error(`network ${lan.name} is full: it has room for 254 hosts`)
  const link = {
    network: lan.name,
    device,
    ipv4: lan.family === "ipv6" ? undefined : `10.213.${lan.number}.${member}`,
    ipv6: lan.family === "ipv4" ? undefined : `fd00:213:${lan.number}::${member.toString(16)}`
  }
  lan.members.push({ namespace, link })
  await lan.namespace.ip(
    `link add port${member} type veth peer name ${device} netns ${namespace.pid}
     link set port${member} master bridge up\n`
  )
  await namespace.ip(
    `${link.ipv4 === undefined ? "" : `address add ${link.ipv4}/24 broadcast + dev ${device}\n`}
     ${link.ipv6 === undefined ? "" : `address add ${link.ipv6}/64 dev ${device} nodad\n`}
     link set ${device} up\n${defaultRoutes(lan, lan.routes)}`
  )
  return link
}

/** Rules of NAT: what goes out gets the router's address, and only what belongs to that, or is forwarded, comes in. */
const masquerade = async (namespace: Namespace.Namespace, outside: Host.Link): Promise<void> => {
  const rules = [
    `-t nat -A POSTROUTING -o ${outside.device} -j MASQUERADE`,
    `-A FORWARD -i ${outside.device} -m conntrack --ctstate ESTABLISHED,RELATED,DNAT -j ACCEPT`,
    `-A FORWARD -i ${outside.device} -j DROP`
  ]
  for (const [command, address] of [["iptables", outside.ipv4], ["ip6tables", outside.ipv6]] as const) {
    if (address === undefined) continue
    for (const rule of rules) await namespace.must(command, ["-w", ...rule.split(" ")])
  }
}

/** Makes none yet; in tests, `Networks.suite` does this and closes them. */
export const make = (): Networks => {
  removeStale()
  const directory = fs.mkdtempSync(join(tmpdir(), `${prefix}${process.pid}-`))
  const namespaces: Array<Namespace.Namespace> = []
  const switches = new Map<string, Switch>()
  const names = new Set<string>()

  const namespaceOf = async (name: string): Promise<Namespace.Namespace> => {
    if (names.has(name)) throw new Error(`there is a ${name} already`)
    names.add(name)
    const namespace = await Namespace.make(name)
    namespaces.push(namespace)
    return namespace
  }

  const switchOf = (name: string): Switch => {
    const found = switches.get(name)
    if (found === undefined) throw new Error(`there is no network ${name}`)
    return found
  }

  const machine = async (name: string, networks: ReadonlyArray<Network>) => {
    const namespace = await namespaceOf(name)
    const links: Array<Host.Link> = []
    for (const [index, network] of networks.entries()) {
      links.push(await connect(switchOf(network.name), namespace, `eth${index}`))
    }
    return { namespace, links, host: Host.make(name, namespace, join(directory, name), links) }
  }

  return {
    network: async (name, family = "ipv4") => {
      const namespace = await namespaceOf(name)
      // Without snooping a multicast goes to everyone at once, not only to those who were heard to want it.
      await namespace.ip("link add bridge type bridge mcast_snooping 0\nlink set bridge up\n")
      switches.set(name, { name, family, namespace, number: switches.size + 1, members: [], routes: [] })
      return {
        name,
        family,
        blockUdp: async () => {
          await namespace.ip("link set bridge type bridge nf_call_iptables 1 nf_call_ip6tables 1\n")
          for (const command of ["iptables", "ip6tables"]) {
            await namespace.must(command, ["-w", "-A", "FORWARD", "-p", "udp", "-j", "DROP"])
          }
        }
      }
    },

    host: async (name, ...networks) => (await machine(name, networks)).host,

    router: async (name, networks, options = {}) => {
      const { host, links, namespace } = await machine(name, networks)
      const forwarding = "for file in ipv4/ip_forward ipv6/conf/all/forwarding; do echo 1 >/proc/sys/net/$file; done"
      await namespace.must("sh", ["-c", forwarding])
      const outside = links.find((link) => link.network === options.masquerade?.name)
      for (const link of links) {
        if (link === outside) continue
        const lan = switchOf(link.network)
        const gateways = [link.ipv4, link.ipv6].filter((address) => address !== undefined)
        lan.routes.push(...gateways)
        for (const member of lan.members) {
          if (member.namespace !== namespace) await member.namespace.ip(defaultRoutes(lan, gateways))
        }
      }
      if (outside !== undefined) await masquerade(namespace, outside)
      return {
        ...host,
        forward: async (port, to) => {
          if (outside === undefined) throw new Error(`${name} is a router without NAT, which needs no forwarding`)
          const inner = to.links.find((link) => links.some((own) => own !== outside && own.network === link.network))
          for (
            const [command, address, target] of [
              ["iptables", outside.ipv4, inner?.ipv4],
              ["ip6tables", outside.ipv6, inner?.ipv6]
            ] as const
          ) {
            if (address === undefined || target === undefined) continue
            for (const protocol of ["tcp", "udp"]) {
              const rule = `-t nat -A PREROUTING -d ${address} -p ${protocol} --dport ${port} -j DNAT --to ${target}`
              await namespace.must(command, ["-w", ...rule.split(" ")])
            }
          }
        }
      }
    },

    sshd: SshServer.start,

    close: async () => {
      await Promise.all(namespaces.splice(0).map((namespace) => namespace.close()))
      fs.rmSync(directory, { recursive: true, force: true })
    }
  }
}
