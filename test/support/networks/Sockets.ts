/** The sockets on which the processes of a network namespace listen, as the kernel lists them. */
import * as fs from "node:fs"
import * as IpAddress from "../../../src/domain/IpAddress.ts"

/** A socket that takes connections, or datagrams from anyone. */
export interface ListeningSocket {
  readonly protocol: "tcp" | "udp"
  /** In the usual form; `0.0.0.0` and `::` for all addresses. */
  readonly address: string
  readonly port: number
}

/** States of `/proc/net`: a TCP socket that listens, a UDP socket that is not connected to one peer. */
const listening = { tcp: "0A", udp: "07" } as const

/** The kernel writes an address as words of 32 bits, each in the byte order of the machine. */
const addressOf = (hex: string): string => {
  const bytes = Buffer.from(hex, "hex").swap32()
  if (bytes.length === 4) return bytes.join(".")
  const groups = Array.from({ length: 8 }, (_, i) => bytes.readUInt16BE(2 * i).toString(16))
  return IpAddress.canonical(groups.join(":"))
}

/** Those of the namespace that a process is in. */
export const listeningOf = (pid: number): ReadonlyArray<ListeningSocket> =>
  (["tcp", "udp"] as const).flatMap((protocol) =>
    ["", "6"].flatMap((family) => {
      const [, ...lines] = fs.readFileSync(`/proc/${pid}/net/${protocol}${family}`, "utf8").trim().split("\n")
      return lines.flatMap((line) => {
        const [, local = "", , state] = line.trim().split(/\s+/)
        const [address = "", port = ""] = local.split(":")
        if (state !== listening[protocol]) return []
        return [{ protocol, address: addressOf(address), port: Number.parseInt(port, 16) }]
      })
    })
  )
