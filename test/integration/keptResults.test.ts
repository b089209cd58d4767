/** A client that is killed while its jobs run on a real daemon: everything of them is to be had, whatever happens next. */
import { describe, expect, it } from "@effect/vitest"
import { Effect, Layer, Stream } from "effect"
import { spawn } from "node:child_process"
import * as fs from "node:fs"
import * as path from "node:path"
import { fileURLToPath } from "node:url"
import type { NodeAddress } from "../../src/domain/NodeAddress.ts"
import type { KeptEvent } from "../../src/domain/NodeRpcs.ts"
import { entrySize, readReply, viewOf } from "../../src/domain/wire/Entries.ts"
import * as FileTransferSocket from "../../src/layers/bulk/FileTransferSocket.ts"
import * as NodeLinkSocket from "../../src/layers/link/NodeLinkSocket.ts"
import * as KeptResults from "../../src/layers/node/KeptResults.ts"
import { FileTransfer } from "../../src/services/FileTransfer.ts"
import { NodeLink } from "../../src/services/NodeLink.ts"
import * as Values from "../../src/slot/Values.ts"
import { tcp } from "../support/DaemonClient.ts"
import * as DaemonProcess from "../support/DaemonProcess.ts"
import { modesBelow } from "../support/Recoveries.ts"

const program = fileURLToPath(new URL("../fixtures/integration/keyedClient.ts", import.meta.url))
const recoverKey = "the key of a cluster"

const live = <A, E>(title: string, test: Effect.Effect<A, E, NodeLink | FileTransfer | Scope>) =>
  it.live(title, () => test.pipe(Effect.provide(layer), Effect.scoped), 60_000)

const layer = Layer.mergeAll(NodeLinkSocket.layer, FileTransferSocket.layer)

type Scope = Effect.Services<typeof DaemonProcess.aDirectory>

/** A daemon with the jobs of a client that was killed a moment ago. */
const aKilledClient = Effect.gen(function*() {
  const prefix = yield* DaemonProcess.aDirectory
  const gates = yield* DaemonProcess.aDirectory
  const start = Effect.gen(function*() {
    const daemon = yield* DaemonProcess.start(["--port", "0", "--cpus", "2", "--name", "n", "--msg-timeout", "1"], {
      prefix
    })
    return { daemon, address: tcp(yield* daemon.ready) }
  })
  const first = yield* start
  const port = String(first.address._tag === "Tcp" && first.address.port)
  const client = yield* Effect.acquireRelease(
    Effect.sync(() =>
      spawn(process.execPath, [program, port, recoverKey, gates], { stdio: ["ignore", "pipe", "inherit"] })
    ),
    (child) => Effect.sync(() => child.kill("SIGKILL"))
  )
  yield* Effect.promise(() => new Promise((resolve) => client.stdout.once("data", resolve)))
  yield* Effect.promise(() => {
    const ended = new Promise((resolve) => client.once("exit", resolve))
    client.kill("SIGKILL")
    return ended
  })
  const open = (gate: string) => Effect.sync(() => fs.writeFileSync(path.join(gates, gate), ""))
  return { ...first, start, open, kept: path.join(first.daemon.root, "..", "kept") }
})

/** What is told until this is among it, or the end. */
const recover = Effect.fnUntraced(function*(address: NodeAddress, last?: string, terminatePending = false) {
  const connection = yield* (yield* NodeLink).connect(address)
  const events: Array<KeptEvent> = []
  yield* connection.recover(recoverKey, terminatePending).pipe(
    Stream.takeUntil((event) => {
      events.push(event)
      return last !== undefined && words(events).includes(last)
    }),
    Stream.runDrain
  )
  return { events, connection }
})

const printed = (bytes: Uint8Array): string => Buffer.from(bytes).toString().trim()

/** Jobs with what they returned and printed, files and losses, sorted. */
const words = (events: ReadonlyArray<KeptEvent>): ReadonlyArray<string> =>
  events.flatMap((event) => {
    switch (event._tag) {
      case "KeptLease":
        return []
      case "KeptFile":
        return [`file ${event.path} of ${event.jobId}: ${event.sizeBytes}`]
      case "KeptLost":
        return [`lost ${event.jobIds.join()}: ${event.reason}`]
      case "KeptReplies": {
        const found: Array<string> = []
        const view = viewOf(event.batch)
        for (let offset = 0; offset < event.batch.length; offset += entrySize(view, offset)) {
          const { jobId, outcome, result, stdout } = readReply(event.batch, view, offset)
          const value = result.length === 8
            ? "large"
            : outcome === 0
            ? String(Values.decode(result))
            : `outcome ${outcome}`
          found.push(`${jobId} ${value} ${printed(stdout)}`)
        }
        return found
      }
    }
  }).toSorted()

/** What the reply says of the size of the large result. */
const largeSize = (events: ReadonlyArray<KeptEvent>): number => {
  for (const event of events) {
    if (event._tag !== "KeptReplies") continue
    const view = viewOf(event.batch)
    for (let offset = 0; offset < event.batch.length; offset += entrySize(view, offset)) {
      const { jobId, result } = readReply(event.batch, view, offset)
      if (jobId === 2) return viewOf(result).getFloat64(0, true)
    }
  }
  return 0
}

/** The large result and the sent file, over a bulk connection. */
const fetchLarge = Effect.fnUntraced(function*(address: NodeAddress, events: ReadonlyArray<KeptEvent>) {
  const transfer = yield* (yield* FileTransfer).open(address, events[0]!.leaseId)
  const file = events.find((event) => event._tag === "KeptFile")!
  const value = yield* transfer.getBytes({
    computationId: "c",
    source: { _tag: "Result", jobId: 2, attempt: 1 },
    sizeBytes: largeSize(events),
    what: "the result of job 2"
  })
  const sent = yield* transfer.getBytes({
    computationId: "c",
    source: { _tag: "JobFile", fileId: file.fileId },
    sizeBytes: file.sizeBytes,
    what: "out.txt"
  })
  return [String(Values.decode(value)).length, Buffer.from(sent).toString()]
})

const finished = [
  "1 small printed by small",
  "2 large printed by large",
  "3 file printed by file",
  "file out.txt of 3: 13"
]

describe("a client that is killed", () => {
  live(
    "has its jobs finished, and their results outlive the daemon, which is killed as well",
    Effect.gen(function*() {
      const { address, daemon, kept, open, start } = yield* aKilledClient
      yield* open("go")
      const before = yield* recover(address, "3 file printed by file")
      expect(words(before.events)).toEqual(finished)
      expect(yield* fetchLarge(address, before.events)).toEqual([3_000_000, "sent by a job"])
      daemon.child.kill("SIGKILL")
      yield* daemon.ended
      const replies = path.join(kept, KeptResults.hashOf(recoverKey), before.events[0]!.leaseId, "replies")
      // The beginning of a record that was being written.
      fs.appendFileSync(replies, fs.readFileSync(replies).subarray(0, 15))
      const second = yield* start
      const after = yield* recover(second.address)
      const lost = "lost 4: node n was killed, or its machine went down, while they ran"
      expect(words(after.events)).toEqual([...finished, lost].toSorted())
      expect(yield* fetchLarge(second.address, after.events)).toEqual([3_000_000, "sent by a job"])
      yield* after.connection.forget(recoverKey)
      expect(fs.existsSync(kept)).toBe(false)
      const again = yield* Effect.flip(recover(second.address))
      expect(again._tag).toBe("NothingKept")
    })
  )

  live(
    "leaves the node free when its jobs have ended, with nothing there but their results",
    Effect.gen(function*() {
      const { address, daemon, kept, open } = yield* aKilledClient
      yield* open("go")
      yield* open("later")
      const { connection, events } = yield* recover(address)
      const all = [...finished, "4 late printed by late"].toSorted()
      expect(words(events)).toEqual(all)
      // Another client takes the node, and what was kept is there all the same.
      const { leaseId } = yield* connection.acquire({ clientId: "next", clientName: "next@here" }, "1")
      const run = path.join(daemon.root, fs.readdirSync(daemon.root)[0]!)
      expect(Object.keys(modesBelow(run)).filter((name) => /^(work|values)\/./.test(name))).toEqual([])
      expect(yield* fetchLarge(address, events)).toEqual([3_000_000, "sent by a job"])
      expect(words((yield* recover(address)).events)).toEqual(all)
      yield* connection.release(leaseId)
      yield* connection.forget(recoverKey)
      expect(fs.existsSync(kept)).toBe(false)
    })
  )

  live(
    "is recovered without those that still run, when they are not waited for; SIGTERM loses nothing that has ended",
    Effect.gen(function*() {
      const { address, daemon, open, start } = yield* aKilledClient
      yield* open("go")
      const { events } = yield* recover(address, undefined, true)
      // Those that had not ended by then were cancelled.
      expect(words(events).filter((line) => /^\d/.test(line))).toHaveLength(4)
      expect(words(events)).toContain("4 outcome 4 ")
      daemon.child.kill("SIGTERM")
      expect(yield* daemon.ended).toEqual({ code: 0, signal: null })
      const again = yield* recover((yield* start).address)
      expect(words(again.events)).toEqual(words(events))
    })
  )
})
