/**
 * Other daemons of this user under the same directory: finds the one that has a
 * port, and ends it with what it started. A daemon is known by its directory,
 * `<pid>-<start of the process>`, and tells its port in a record there. A record
 * that cannot be read is no reason to fail: then the kernel is asked who listens.
 */
import { Effect, Option, Result, Schema } from "effect"
import * as fs from "node:fs"
import * as path from "node:path"
import * as ProcessTree from "../executor/ProcessTree.ts"

/** What a daemon writes down about itself. */
const NodeRecord = Schema.fromJsonString(Schema.Struct({ name: Schema.String, ports: Schema.Array(Schema.Number) }))

const recordName = "node.json"

/** Another daemon that runs. */
export interface Rival {
  readonly pid: number
  readonly start: string
  readonly directory: string
}

/** Writes down what others need to know of this daemon; they can do without. */
export const record = (directory: string, name: string, ports: ReadonlyArray<number>): Effect.Effect<void> =>
  Effect.try(() =>
    fs.writeFileSync(path.join(directory, recordName), Schema.encodeSync(NodeRecord)({ name, ports: [...ports] }), {
      mode: 0o600
    })
  ).pipe(Effect.ignore)

/** Inodes of the sockets that listen on a TCP port, as the kernel lists them. */
const listeners = (port: number): ReadonlySet<string> => {
  const wanted = port.toString(16).toUpperCase().padStart(4, "0")
  const inodes = new Set<string>()
  for (const table of ["/proc/net/tcp", "/proc/net/tcp6"]) {
    const text = Result.getOrElse(Result.try(() => fs.readFileSync(table, "latin1")), () => "")
    for (const line of text.split("\n")) {
      const fields = line.trim().split(/\s+/)
      if (fields[1]?.endsWith(`:${wanted}`) === true && fields[3] === "0A") inodes.add(fields[9] ?? "")
    }
  }
  return inodes
}

const listensOn = (pid: number, port: number): boolean => {
  const inodes = listeners(port)
  const descriptors = Result.getOrElse(Result.try(() => fs.readdirSync(`/proc/${pid}/fd`)), () => [])
  return descriptors.some((name) => {
    const target = Result.getOrElse(Result.try(() => fs.readlinkSync(`/proc/${pid}/fd/${name}`)), () => "")
    const inode = /^socket:\[(\d+)\]$/.exec(target)?.[1]
    return inode !== undefined && inodes.has(inode)
  })
}

const hasPort = ({ directory, pid }: Rival, port: number): boolean => {
  const text = Result.getOrElse(Result.try(() => fs.readFileSync(path.join(directory, recordName), "utf8")), () => "")
  const known = Schema.decodeUnknownOption(NodeRecord)(text)
  return Option.isSome(known) ? known.value.ports.includes(port) : listensOn(pid, port)
}

/** Daemons that run under the directory of this one and have the port. */
export const find = (ownDirectory: string, port: number): Effect.Effect<ReadonlyArray<Rival>> =>
  Effect.sync(() => {
    const root = path.dirname(ownDirectory)
    const names = Result.getOrElse(Result.try(() => fs.readdirSync(root)), () => [])
    return names.flatMap((name) => {
      const directory = path.join(root, name)
      const [, pid, start] = /^(\d+)-(\d+)$/.exec(name) ?? []
      if (pid === undefined || start === undefined || directory === ownDirectory) return []
      const rival = { pid: Number(pid), start, directory }
      return isRunning(rival) && hasPort(rival, port) ? [rival] : []
    })
  })

/** Not another process that got its pid since. */
const isRunning = ({ pid, start }: Rival): boolean =>
  process.platform === "linux"
    ? ProcessTree.startOf(pid) === start
    : Result.isSuccess(Result.try(() => process.kill(pid, 0)))

const signal = (rival: Rival): Effect.Effect<void> =>
  Effect.sync(() => {
    if (isRunning(rival)) Result.try(() => process.kill(rival.pid, "SIGTERM"))
  })

/** The end of a process that is nobody's child here can only be looked for. */
const untilGone = (rival: Rival): Effect.Effect<void> =>
  Effect.suspend(() => isRunning(rival) ? Effect.andThen(Effect.sleep("20 millis"), untilGone(rival)) : Effect.void)

/** How long a daemon may take to end that was told to end at once. */
const hurryTime = "3 seconds"

/**
 * Ends a daemon: its running jobs have `grace` seconds, then it is told to end at once, then it is killed with all
 * that it started. What is left of its directory is removed.
 */
export const end = Effect.fnUntraced(function*(rival: Rival, grace: number) {
  const { directory, pid, start } = rival
  yield* Effect.logInfo("ending another dispynode").pipe(Effect.annotateLogs({ pid }))
  yield* signal(rival)
  const ended = yield* Effect.timeoutOption(untilGone(rival), grace * 1000 + 500)
  if (Option.isNone(ended)) {
    yield* signal(rival)
    const hurried = yield* Effect.timeoutOption(untilGone(rival), hurryTime)
    if (Option.isNone(hurried)) {
      yield* Effect.logWarning("killing a dispynode that does not end").pipe(Effect.annotateLogs({ pid }))
      // No slot has this marker: what counts is who descends from the daemon.
      yield* Effect.promise(() => ProcessTree.kill([{ pid, start, marker: `node ${start}`, seen: new Map() }]))
      yield* untilGone(rival).pipe(Effect.timeoutOption(hurryTime))
    }
  }
  yield* Effect.sync(() => Result.try(() => fs.rmSync(directory, { recursive: true, force: true, maxRetries: 5 })))
})
