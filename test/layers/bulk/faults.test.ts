/** Bulk transfers when things go wrong: connections that are cut, disks that are full, peers that lie, processes that die. */
import { describe, expect, it } from "@effect/vitest"
import { Effect, Layer } from "effect"
import { randomBytes } from "node:crypto"
import * as fs from "node:fs"
import * as net from "node:net"
import * as os from "node:os"
import * as path from "node:path"
import type { NodeAddress } from "../../../src/domain/NodeAddress.ts"
import * as BulkFrames from "../../../src/domain/transfer/BulkFrames.ts"
import * as FileTransferSocket from "../../../src/layers/bulk/FileTransferSocket.ts"
import * as Partials from "../../../src/layers/files/Partials.ts"
import * as HostStatsFixed from "../../../src/layers/host/HostStatsFixed.ts"
import * as NodeLinkSocket from "../../../src/layers/link/NodeLinkSocket.ts"
import * as NodeListener from "../../../src/layers/node/NodeListener.ts"
import * as NodeServer from "../../../src/layers/node/NodeServer.ts"
import { FileTransfer } from "../../../src/services/FileTransfer.ts"
import * as NodeConfig from "../../../src/services/NodeConfig.ts"
import { NodeEndpoints } from "../../../src/services/NodeEndpoints.ts"
import { NodeLink } from "../../../src/services/NodeLink.ts"
import * as CuttingProxy from "../../support/CuttingProxy.ts"
import * as NodeClients from "../../support/NodeClients.ts"
import * as ScriptedExecutor from "../../support/ScriptedExecutor.ts"
import * as SmallDisk from "../../support/SmallDisk.ts"

const temporary = Effect.acquireRelease(
  Effect.sync(() => fs.mkdtempSync(path.join(os.tmpdir(), "dispy-test-faults-"))),
  (directory) => Effect.sync(() => fs.rmSync(directory, { recursive: true, force: true, maxRetries: 5 }))
)

/** A node with its files below a directory, and a client that has computation "c" open, through a proxy. */
const aNode = Effect.fnUntraced(function*(home: string) {
  const { layer: executor, script } = ScriptedExecutor.make()
  const context = yield* Layer.build(
    NodeListener.layer.pipe(
      Layer.provide(NodeServer.layer),
      Layer.provide([
        executor,
        HostStatsFixed.layer(),
        NodeConfig.layer({
          name: "subject",
          incarnation: "1",
          addresses: ["127.0.0.1"],
          port: 0,
          directory: path.join(home, "node", "run")
        })
      ])
    )
  )
  const { addresses } = yield* Effect.provideContext(NodeEndpoints, context)
  const port = (addresses[0] as Extract<NodeAddress, { readonly _tag: "Tcp" }>).port
  const proxy = yield* CuttingProxy.make(port)
  const address: NodeAddress = { _tag: "Tcp", host: "127.0.0.1", port: proxy.port }
  const link = yield* NodeLink
  const connection = yield* link.connect(address)
  const { leaseId } = yield* connection.acquire({ clientId: "me", clientName: "me@here" }, "1")
  const transfer = yield* (yield* FileTransfer).open(address, leaseId)
  yield* connection.openComputation(leaseId, NodeClients.aComputation("c"))
  const { directory = "", valuesDirectory = "", onFile } = script.computations.get("c")!.request
  const put = (name: string, bytes: Uint8Array) =>
    transfer.put({
      computationId: "c",
      target: { _tag: "File", path: name, mode: 0o644, modifiedMillis: 0 },
      content: { _tag: "Bytes", bytes },
      what: `file ${name}`
    })
  return { port, proxy, connection, leaseId, transfer, put, directory, valuesDirectory, onFile: onFile! }
})

const live = <A, E>(
  title: string,
  test: Effect.Effect<A, E, NodeLink | FileTransfer | Effect.Services<typeof temporary>>
) => it.live(title, () => test.pipe(Effect.provide([NodeLinkSocket.layer, FileTransferSocket.layer]), Effect.scoped))

describe("a connection that is cut", () => {
  live(
    "again and again does not keep a large file from arriving, nor is it sent twice",
    Effect.gen(function*() {
      const { connection, directory, leaseId, proxy, put } = yield* aNode(yield* temporary)
      const bytes = randomBytes(60_000_000)
      proxy.cuts.push(20_000_000, 15_000_000, 10_000_000)
      yield* put("x", bytes)
      expect(fs.readFileSync(path.join(directory, "x")).equals(bytes)).toBe(true)
      expect(proxy.connections()).toBe(4)
      // What was under way when a connection was cut is sent again, and nothing else.
      expect(proxy.passed()).toBeLessThan(60_000_000 + 3 * 17_000_000)
      // The control connection did not notice.
      yield* connection.dispatch(leaseId, "c", NodeClients.someJobs(1), 0)
    })
  )

  live(
    "does not disturb small files, nor content on its way to the client",
    Effect.gen(function*() {
      const { directory, onFile, proxy, put, transfer } = yield* aNode(yield* temporary)
      proxy.cuts.push(100, 50_000)
      const small = Array.from({ length: 50 }, (_, i) => randomBytes(i * 100))
      yield* Effect.forEach(small, (bytes, i) => put(`f${i}`, bytes), { concurrency: 10 })
      for (const [i, bytes] of small.entries()) {
        expect(fs.readFileSync(path.join(directory, `f${i}`)).equals(bytes)).toBe(true)
      }
      const large = randomBytes(30_000_000)
      fs.writeFileSync(path.join(directory, "out"), large)
      const { signal } = new AbortController()
      onFile({
        fileId: 1,
        jobId: 1,
        file: path.join(directory, "out"),
        path: "out",
        sizeBytes: large.length,
        mode: 0o644,
        modifiedMillis: 0,
        signal
      })
      // Acknowledgements have 13 bytes each, so few bytes from the client are much for it.
      proxy.cuts.push(400, 400)
      const target = path.join(yield* temporary, "got")
      yield* transfer.getFile(
        { computationId: "c", source: { _tag: "JobFile", fileId: 1 }, sizeBytes: large.length, what: "out" },
        target
      )
      expect(fs.readFileSync(target).equals(large)).toBe(true)
    })
  )

  live(
    "at once every time is given up, with the reason",
    Effect.gen(function*() {
      const { directory, proxy, put } = yield* aNode(yield* temporary)
      proxy.cuts.push(...Array.from({ length: 20 }, () => 10))
      const error = yield* Effect.flip(put("x", randomBytes(1000)))
      expect(error.message).toMatch(/^file x was not transferred \(node 127.*again and again/)
      expect(fs.readdirSync(directory)).toEqual([])
    })
  )
})

/** What a peer is told that sends these bytes: everything until the connection ends. */
const tellOf = (port: number, bytes: Uint8Array) =>
  Effect.callback<string>((resume) => {
    let told = ""
    const socket = net.connect(port, "127.0.0.1", () => socket.write(bytes))
    socket.on("data", (text) => (told += text.toString("latin1")))
    socket.on("error", () => {})
    socket.on("close", () => resume(Effect.succeed(told)))
  })

describe("a peer", () => {
  live(
    "without a lease is told so in a sentence and shown out",
    Effect.gen(function*() {
      const { port } = yield* aNode(yield* temporary)
      const told = yield* tellOf(port, BulkFrames.greeting("00000000-0000-4000-8000-000000000000"))
      expect(told).toContain("node subject refused a bulk connection without a lease of this node; acquire one first")
    })
  )

  live(
    "that sends what are no frames is shown out, 300 of them, and others go on",
    Effect.gen(function*() {
      const { directory, leaseId, port, put } = yield* aNode(yield* temporary)
      const greeting = BulkFrames.greeting(leaseId)
      for (let n = 0; n < 300; n++) {
        const noise = randomBytes(1 + (n % 100))
        // No complete frame of an unknown size is waited for.
        noise[0] = n % 2 === 0 ? 12 + (n % 200) : BulkFrames.Frame.data
        if (n % 2 === 0) yield* tellOf(port, Buffer.concat([greeting, noise, Buffer.alloc(70_000, 255)]))
        else yield* tellOf(port, Buffer.concat([greeting, Buffer.from([BulkFrames.Frame.data, 9, 0, 0, 0, 1, 2, 3])]))
      }
      yield* put("fine", Buffer.from("fine"))
      expect(fs.readdirSync(directory)).toEqual(["fine"])
    })
  )
})

describe("a disk", () => {
  live(
    "that is full fails files and values with node, path and what to do, and works again when there is room",
    Effect.gen(function*() {
      const home = yield* SmallDisk.make(8)
      if (home === undefined) return yield* Effect.logWarning("left out: only root can mount a small file system")
      const { connection, directory, leaseId, put, transfer, valuesDirectory } = yield* aNode(home)
      for (let n = 0; n < 20; n++) {
        const error = yield* Effect.flip(put(`x${n}`, randomBytes(9_000_000)))
        expect(error.message).toMatch(
          /file x\d+ was not transferred \(node 127.*ENOSPC.*make room there.*--dest-path-prefix/
        )
      }
      const target = { _tag: "Arguments", jobId: 1, attempt: 1 } as const
      const content = { _tag: "Bytes", bytes: randomBytes(9_000_000) } as const
      const value = yield* Effect.flip(
        transfer.put({ computationId: "c", target, content, what: "the arguments of job 1" })
      )
      expect(value.message).toContain("ENOSPC")
      expect([fs.readdirSync(directory), fs.readdirSync(valuesDirectory)]).toEqual([[], []])
      yield* put("fits", randomBytes(7_000_000))
      const refused = yield* Effect.flip(put("more", randomBytes(2_000_000)))
      expect(refused._tag).toBe("TransferFailed")
      fs.rmSync(path.join(directory, "fits"))
      yield* put("more", randomBytes(2_000_000))
      expect(fs.readdirSync(directory)).toEqual(["more"])
      yield* connection.closeComputation(leaseId, "c")
    })
  )

  live(
    "that cannot be written to has a computation refused, and says where",
    Effect.gen(function*() {
      const home = yield* temporary
      fs.writeFileSync(path.join(home, "node"), "a file where a directory should be")
      const error = yield* Effect.flip(aNode(home))
      expect(String(error)).toMatch(/cannot run compute-c: .*node/)
    })
  )

  live(
    "takes any prefix: blanks, emoji, 300 characters",
    Effect.gen(function*() {
      const home = yield* temporary
      const odd = path.join(home, "with blanks", "and 😀", "x".repeat(150), "y".repeat(150))
      const { directory, put } = yield* aNode(odd)
      yield* put("fine", Buffer.from("fine"))
      expect(fs.readFileSync(path.join(directory, "fine"), "utf8")).toBe("fine")
    })
  )
})

describe("a process that was killed", () => {
  live(
    "leaves temporary files that the next one finds and removes, and no others",
    Effect.gen(function*() {
      const directory = yield* temporary
      const own = Partials.fresh(directory)
      const stale = path.join(directory, ".dispy-4194301-1-1.part")
      for (const file of [own, stale, path.join(directory, ".dispy-mine"), path.join(directory, "other")]) {
        fs.writeFileSync(file, "")
      }
      Partials.removeStale(directory)
      expect(fs.readdirSync(directory).toSorted()).toEqual([path.basename(own), ".dispy-mine", "other"].toSorted())
    })
  )
})
