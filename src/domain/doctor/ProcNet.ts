/** Reads the kernel's tables of sockets (`/proc/net/tcp`, `udp6`, `unix` …, described in proc(5)): who waits for peers. */
import * as IpAddress from "../IpAddress.ts"

/** A socket that peers can reach. */
export type OpenSocket =
  | {
    readonly transport: "tcp" | "udp"
    /** "0.0.0.0" and "::" for all addresses. */
    readonly address: string
    readonly port: number
    /** Number by which a process's descriptors name it. */
    readonly inode: string
  }
  | { readonly transport: "unix"; readonly path: string; readonly inode: string }

/** State of a TCP socket that listens, and of a UDP socket that is not connected to one peer. */
const listening = { tcp: "0A", udp: "07" } as const

/** The kernel writes 32 bits at a time as a number, whose bytes are in reverse on little-endian machines: on all that matter. */
const bytesOf = (hex: string): ReadonlyArray<number> => {
  const bytes: Array<number> = []
  for (let word = 0; word < hex.length; word += 8) {
    for (let at = word + 6; at >= word; at -= 2) bytes.push(Number.parseInt(hex.slice(at, at + 2), 16))
  }
  return bytes
}

const addressOf = (hex: string): string => {
  const bytes = bytesOf(hex)
  if (bytes.length === 4) return bytes.join(".")
  const groups = Array.from({ length: 8 }, (_, i) => (bytes[2 * i]! * 256 + bytes[2 * i + 1]!).toString(16))
  return IpAddress.canonical(groups.join(":"))
}

/** Sockets in `/proc/net/tcp`, `tcp6`, `udp` or `udp6` that wait for peers. */
export const parseInet = (transport: "tcp" | "udp", table: string): ReadonlyArray<OpenSocket> =>
  table.split("\n").flatMap((line) => {
    const [, local = "", , state, , , , , , inode = ""] = line.trim().split(/\s+/)
    const [, address, port] = /^([0-9A-F]{8}|[0-9A-F]{32}):([0-9A-F]{4})$/.exec(local) ?? []
    if (address === undefined || port === undefined || state !== listening[transport]) return []
    return [{ transport, address: addressOf(address), port: Number.parseInt(port, 16), inode }]
  })

/** The flag of sockets that take connections. */
const acceptsConnections = 0x1_0000

/** Sockets in `/proc/net/unix` that take connections and have a path. */
export const parseUnix = (table: string): ReadonlyArray<OpenSocket> =>
  table.split("\n").flatMap((line) => {
    const [, flags, inode, path] = /^[0-9a-f]+: \S+ \S+ ([0-9A-F]+) \S+ \S+\s+(\d+) (.+)$/.exec(line) ?? []
    return flags === undefined || inode === undefined || path === undefined ||
        (Number.parseInt(flags, 16) & acceptsConnections) === 0
      ? []
      : [{ transport: "unix", path, inode }]
  })
