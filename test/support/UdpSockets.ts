/** The UDP sockets of a process, as Linux tells them. */
import * as fs from "node:fs"

/** An address in the kernel's form: 32-bit words in the byte order of the machine. */
const addressOf = (hex: string): string => {
  const bytes = Buffer.from(hex, "hex")
  bytes.swap32()
  return bytes.length === 4
    ? bytes.join(".")
    : new URL(`http://[${bytes.toString("hex").match(/.{4}/g)!.join(":")}]`).hostname.slice(1, -1)
}

/** Where a process listens by UDP: "127.0.0.1:51348", sorted. */
export const of = (pid: number): ReadonlyArray<string> => {
  const inodes = new Set(
    fs.readdirSync(`/proc/${pid}/fd`).flatMap((fd) => {
      try {
        return /socket:\[(\d+)\]/.exec(fs.readlinkSync(`/proc/${pid}/fd/${fd}`))?.[1] ?? []
      } catch {
        // It was closed while we looked.
        return []
      }
    })
  )
  return ["udp", "udp6"].flatMap((table) =>
    fs.readFileSync(`/proc/${pid}/net/${table}`, "latin1").trim().split("\n").slice(1).flatMap((line) => {
      const fields = line.trim().split(/\s+/)
      const [address = "", port = ""] = fields[1]!.split(":")
      return inodes.has(fields[9]!) ? [`${addressOf(address)}:${Number.parseInt(port, 16)}`] : []
    })
  ).toSorted()
}
