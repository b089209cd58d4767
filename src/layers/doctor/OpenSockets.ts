/** Which sockets of this machine wait for peers, and whose they are: from `/proc`, which only Linux has. */
import { Effect, Result } from "effect"
import * as fs from "node:fs"
import type { HolderFact, PortFact } from "../../domain/doctor/Facts.ts"
import * as ProcNet from "../../domain/doctor/ProcNet.ts"
import * as ProgramName from "../../domain/doctor/ProgramName.ts"

/** A socket with the process that has it; undefined for one of another user. */
export interface HeldSocket {
  readonly socket: ProcNet.OpenSocket
  readonly holder: HolderFact | undefined
}

const read = (file: string): string => Result.getOrElse(Result.try(() => fs.readFileSync(file, "utf8")), () => "")

const list = (directory: string): ReadonlyArray<string> =>
  Result.getOrElse(Result.try(() => fs.readdirSync(directory)), () => [])

/** Processes by the inodes of their sockets, as far as this user may look. */
const holders = (wanted: ReadonlySet<string>): ReadonlyMap<string, HolderFact> => {
  const found = new Map<string, HolderFact>()
  for (const pid of list("/proc").filter((name) => /^\d+$/.test(name))) {
    for (const descriptor of list(`/proc/${pid}/fd`)) {
      const target = Result.getOrElse(Result.try(() => fs.readlinkSync(`/proc/${pid}/fd/${descriptor}`)), () => "")
      const inode = /^socket:\[(\d+)\]$/.exec(target)?.[1]
      if (inode === undefined || !wanted.has(inode) || found.has(inode)) continue
      const words = read(`/proc/${pid}/cmdline`).split("\0").filter((word) => word !== "")
      found.set(inode, { pid: Number(pid), ...ProgramName.of(words) })
    }
  }
  return found
}

/** All of them; undefined on other systems than Linux. */
export const all: Effect.Effect<ReadonlyArray<HeldSocket> | undefined> = Effect.sync(() => {
  if (!fs.existsSync("/proc/net/tcp")) return undefined
  const sockets = [
    ...ProcNet.parseInet("tcp", read("/proc/net/tcp")),
    ...ProcNet.parseInet("tcp", read("/proc/net/tcp6")),
    ...ProcNet.parseInet("udp", read("/proc/net/udp")),
    ...ProcNet.parseInet("udp", read("/proc/net/udp6")),
    ...ProcNet.parseUnix(read("/proc/net/unix"))
  ]
  const byInode = holders(new Set(sockets.map(({ inode }) => inode)))
  return sockets.map((socket) => ({ socket, holder: byInode.get(socket.inode) }))
})

/** A port that dispy uses. */
export type DispyPort = Pick<PortFact, "transport" | "port" | "side">

/** Whether these ports are taken, and by whom. */
export const portFacts = (
  sockets: ReadonlyArray<HeldSocket>,
  ports: ReadonlyArray<DispyPort>
): ReadonlyArray<PortFact> =>
  ports.map((wanted) => {
    const held = sockets.filter(({ socket }) =>
      socket.transport !== "unix" && socket.transport === wanted.transport && socket.port === wanted.port
    )
    // Somebody else's counts more than one's own: it is the one that is in the way.
    const first = held.find(({ holder }) => holder?.isDispy !== true) ?? held[0]
    return { ...wanted, isTaken: first !== undefined, holder: first?.holder }
  })
