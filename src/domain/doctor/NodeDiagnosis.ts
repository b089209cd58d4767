/** What there is to say of a node, from what was tried with it. */
import type { JobFact, NodeFacts, TcpFact, UdpFact } from "./Facts.ts"
import { type Finding, ok, problem, warning } from "./Finding.ts"

/** Free space that a node should have: files of computations and values over 1 MiB lie there. */
const enoughDiskBytes = 1024 ** 3

/** Whether files of jobs may soon have no room. */
export const isNearlyFull = (freeBytes: number): boolean => freeBytes < enoughDiskBytes

/** A size for people. */
export const size = (bytes: number): string =>
  bytes < 1024 ** 2 ? `${Math.floor(bytes / 1024)} KiB` : bytes < 1024 ** 3
    ? `${Math.floor(bytes / 1024 ** 2)} MiB`
    : `${(bytes / 1024 ** 3).toFixed(1)} GiB`

/** A clock that is further off than this is wrong: times of jobs from different nodes no longer compare. */
const clockToleranceMillis = 5000

const noDispyThere = "start dispynode there, and look at the line it prints for address and port"

/** Why there is no connection, by the system's code, and what to do. */
const connectMistakes: Readonly<Record<string, readonly [reason: string, fix: string]>> = {
  ECONNREFUSED: [
    "the machine is there and nothing listens on the port",
    `${noDispyThere}; without a secret or a certificate it listens on loopback only`
  ],
  ENOTFOUND: ["the host name is unknown", "correct the name, or list the node by its IP address"],
  EAI_AGAIN: ["the name service does not answer", "check /etc/resolv.conf, or list the node by its IP address"],
  EHOSTUNREACH: [
    "there is no way to the host",
    "check that the machine is on, and the routes of this one (`ip route`)"
  ],
  ENETUNREACH: ["there is no way to its network", "check the routes of this machine (`ip route`)"],
  ETIMEDOUT: [
    "nobody answers at all, as when the machine is off or a firewall drops packets",
    "check that the machine is on, and open the port (TCP) in the firewalls between"
  ],
  ECONNRESET: ["the connection is reset, as firewalls do", "open the port (TCP) in the firewalls between"]
}

const notConnected = (address: string, { code }: Extract<TcpFact, { readonly _tag: "NotConnected" }>): Finding => {
  const [reason, fix] = connectMistakes[code] ?? [`the connection fails with ${code}`, noDispyThere]
  return problem("node", `${address} cannot be reached by TCP: ${reason}`, fix)
}

const hello = (address: string, { hello: said, tcp }: NodeFacts): ReadonlyArray<Finding> => {
  if (said === undefined) {
    return tcp?._tag === "Connected"
      ? [ok("node", `${address} can be reached at ${tcp.ipAddr}; more was not tried without usable credentials`)]
      : []
  }
  switch (said._tag) {
    case "NoGreeting":
      return [
        problem(
          "node",
          `${address} can be reached, and what listens there does not greet this client: ${said.reason}`,
          "check the port, which another program may have, and that both sides have the same version and secret or authority"
        )
      ]
    case "OtherVersion":
      return [
        problem(
          "node",
          `${address} runs dispy ${said.version}, which speaks another protocol than this client`,
          "install the same version of dispy on both"
        )
      ]
    case "Greeted": {
      const { cpus, freeDiskBytes, name, version } = said
      const way = tcp?._tag === "Connected" ? ` at ${tcp.ipAddr}, ${tcp.millis.toFixed(1)} ms away` : ""
      const findings = [
        cpus === 0
          ? problem(
            "node",
            `${address} is node ${name} (dispy ${version})${way}, which offers no cpus now`,
            "start jobs on its console (`start`), wait for its service hours, or raise its --cpus"
          )
          : ok("node", `${address} is node ${name} (dispy ${version})${way}, with ${cpus} cpus`)
      ]
      if (isNearlyFull(freeDiskBytes)) {
        findings.push(warning(
          "disk",
          `${address} has ${size(freeDiskBytes)} of disk left, which large files of jobs soon fill`,
          "make room there, or start its dispynode with another --dest-path-prefix"
        ))
      }
      return findings
    }
  }
}

const clock = (address: string, { clockAhead, clockDoubt }: Extract<JobFact, { readonly _tag: "Ran" }>): Finding => {
  const off = Math.abs(clockAhead)
  const direction = clockAhead > 0 ? "ahead of" : "behind"
  return off - clockDoubt > clockToleranceMillis
    ? warning(
      "clock",
      `the clock of ${address} is ${
        (off / 1000).toFixed(1)
      } s ${direction} this machine's: times of jobs do not compare,` +
        " and signed datagrams may be taken for old ones",
      "set both clocks by the network (systemd-timesyncd, chrony)"
    )
    : ok("clock", `the clock of ${address} agrees with this machine's within ${Math.ceil(off + clockDoubt)} ms`)
}

const job = (address: string, fact: JobFact | undefined): ReadonlyArray<Finding> => {
  switch (fact?._tag) {
    case undefined:
      return []
    case "Ran":
      return [ok("node", `${address} ran a job in ${Math.round(fact.millis)} ms`), clock(address, fact)]
    case "Busy":
      return [
        problem(
          "node",
          `${address} works for somebody else now: ${fact.reason}`,
          "wait until that client is done, or ask its owner; a cluster waits by itself"
        )
      ]
    case "Failed":
      return [
        problem("node", `${address} did not run a job: ${fact.reason}`, "look at the log of dispynode there (--debug)")
      ]
  }
}

const datagrams = (address: string, udp: UdpFact): Finding => {
  switch (udp._tag) {
    case "Answered":
      return ok("node", `${address} answers datagrams, in ${udp.millis.toFixed(1)} ms`)
    case "Unheeded": {
      const [what = "", fix = ""] = udp.meaning.split(": ")
      return warning("node", `${address} is not found by datagrams, which are ${what} between it and this machine`, fix)
    }
    case "Silent":
      return warning(
        "node",
        `${address} does not answer datagrams, so it is only found when it is listed by address`,
        "open its port for UDP, too, in the firewalls between, or keep it in the list of nodes"
      )
  }
}

/** The findings about a node. */
export const diagnose = (facts: NodeFacts): ReadonlyArray<Finding> => {
  const { address, tcp, udp } = facts
  const findings = [
    ...(tcp?._tag === "NotConnected" ? [notConnected(address, tcp)] : []),
    ...hello(address, facts),
    ...job(address, facts.job)
  ]
  if (udp === undefined) return findings
  findings.push(datagrams(address, udp))
  return findings
}
