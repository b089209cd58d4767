/** What every way of moving files between a client and a node does: the suite that all implementations pass. */
import { describe, expect, it } from "@effect/vitest"
import { Deferred, Effect, Fiber, type Layer, Schedule, type Scope } from "effect"
import { execFileSync } from "node:child_process"
import { createHash, randomBytes } from "node:crypto"
import * as fs from "node:fs"
import * as path from "node:path"
import type { Computation, FileEntry } from "../../src/domain/Computation.ts"
import type { NodeAddress } from "../../src/domain/NodeAddress.ts"
import { argumentsName, resultName } from "../../src/domain/wire/LargeValue.ts"
import { FileTransfer } from "../../src/services/FileTransfer.ts"
import type { SentFile } from "../../src/services/JobExecutor.ts"
import { NodeLink } from "../../src/services/NodeLink.ts"
import { hostileNames } from "../support/HostileNames.ts"
import * as NodeClients from "../support/NodeClients.ts"

/** What the node's executor was asked. */
export interface Opened {
  readonly directory: string
  readonly values: string
  /** As if a job sent a file. */
  readonly sendFile: (file: SentFile) => void
}

/** A way to one node, and that node. */
export interface Subject {
  readonly name: string
  readonly make: Effect.Effect<
    {
      readonly layer: Layer.Layer<NodeLink | FileTransfer>
      readonly address: NodeAddress
      /** Files that the node takes are at most so large: 10 MB. */
      readonly opened: (computationId: string) => Opened
      /** Where the node keeps everything. */
      readonly home: string
      /** For files of the client. */
      readonly directory: string
    },
    unknown,
    Scope.Scope
  >
}

const sha256 = (bytes: Uint8Array): string => createHash("sha256").update(bytes).digest("hex")

const anEntry = (name: string, bytes: Uint8Array, mode = 0o644): FileEntry => ({
  path: name,
  sizeBytes: bytes.length,
  sha256: sha256(bytes),
  mode
})

const withFiles = (id: string, files: ReadonlyArray<FileEntry>, more: Partial<Computation> = {}): Computation => ({
  ...NodeClients.aComputation(id),
  depends: { definitions: [], modules: [], files },
  ...more
})

/** Registers the suite for one implementation. */
export const suite = (subject: Subject): void => {
  type Made = Effect.Success<Subject["make"]>

  const client = (made: Made, clientName = "me@here") =>
    Effect.gen(function*() {
      const link = yield* NodeLink
      const files = yield* FileTransfer
      const connection = yield* link.connect(made.address)
      const { leaseId } = yield* connection.acquire({ clientId: "me", clientName }, crypto.randomUUID())
      const transfer = yield* files.open(made.address, leaseId)
      const put = (computationId: string, name: string, bytes: Uint8Array) =>
        transfer.put({
          computationId,
          target: { _tag: "Dependency", path: name },
          content: { _tag: "Bytes", bytes },
          what: `file ${name}`
        })
      const open = (computation: Computation) => connection.openComputation(leaseId, computation)
      const offer = (computation: Computation) =>
        connection.offerFiles(leaseId, computation, computation.depends?.files ?? [])
      const close = (id: string) => connection.closeComputation(leaseId, id)
      return { connection, leaseId, transfer, put, open, offer, close }
    })

  const claim = <A, E>(
    title: string,
    test: (made: Made) => Effect.Effect<A, E, NodeLink | FileTransfer | Scope.Scope>
  ) =>
    it.live(
      title,
      () => Effect.flatMap(subject.make, (made) => test(made).pipe(Effect.provide(made.layer))).pipe(Effect.scoped)
    )

  describe(`file transfer over ${subject.name}`, () => {
    claim("puts files of all sizes to their places, byte for byte, with their mode", (made) =>
      Effect.gen(function*() {
        const { offer, open, put } = yield* client(made)
        const sizes = [0, 1, 1000, 65_536, 262_144, 262_145, 1_000_000, 9_000_000]
        const contents = sizes.map((size) => randomBytes(size))
        const entries = contents.map((bytes, i) => anEntry(`dir/${i}/file ${i}`, bytes, i % 2 === 0 ? 0o600 : 0o755))
        const computation = withFiles("c", entries)
        expect(yield* offer(computation)).toEqual(sizes.map((_, i) => i))
        yield* Effect.forEach(contents, (bytes, i) => put("c", entries[i]!.path, bytes), { concurrency: 4 })
        yield* open(computation)
        const { directory } = made.opened("c")
        for (const [i, bytes] of contents.entries()) {
          const file = path.join(directory, entries[i]!.path)
          expect(fs.readFileSync(file).equals(bytes)).toBe(true)
          expect(fs.statSync(file).mode & 0o777 & ~entries[i]!.mode).toBe(0)
        }
      }))

    claim(
      "sends content that is there already never again, also under other names and for other computations",
      (made) =>
        Effect.gen(function*() {
          const { offer, open, put } = yield* client(made)
          const bytes = randomBytes(100_000)
          const first = withFiles("a", [anEntry("one", bytes), anEntry("two", bytes)])
          expect(yield* offer(first)).toEqual([0])
          yield* put("a", "one", bytes)
          yield* open(first)
          expect(fs.readFileSync(path.join(made.opened("a").directory, "two")).equals(bytes)).toBe(true)
          const second = withFiles("b", [anEntry("three", bytes)])
          expect(yield* offer(second)).toEqual([])
          yield* open(second)
          expect(fs.readFileSync(path.join(made.opened("b").directory, "three")).equals(bytes)).toBe(true)
        })
    )

    claim("has a second client wait for content that a first one sends", (made) =>
      Effect.gen(function*() {
        const { offer, open, put } = yield* client(made)
        const bytes = randomBytes(1000)
        expect(yield* offer(withFiles("a", [anEntry("x", bytes)]))).toEqual([0])
        const second = withFiles("b", [anEntry("y", bytes)])
        const waiting = yield* Effect.forkScoped(offer(second))
        yield* put("a", "x", bytes)
        expect(yield* Fiber.join(waiting)).toEqual([])
        yield* open(second)
      }))

    claim("has a second client send it itself when the first one goes away", (made) =>
      Effect.gen(function*() {
        const { close, offer } = yield* client(made)
        const bytes = randomBytes(1000)
        expect(yield* offer(withFiles("a", [anEntry("x", bytes)]))).toEqual([0])
        const waiting = yield* Effect.forkScoped(offer(withFiles("b", [anEntry("y", bytes)])))
        yield* close("a")
        expect(yield* Fiber.join(waiting)).toEqual([0])
      }))

    claim("throws content away that is not what was announced, and says so", (made) =>
      Effect.gen(function*() {
        const { offer, open, put } = yield* client(made)
        const bytes = randomBytes(1000)
        const computation = withFiles("c", [anEntry("x", bytes)])
        yield* offer(computation)
        const error = yield* Effect.flip(put("c", "x", randomBytes(1000)))
        expect(error.message).toMatch(/^file x was not transferred .*SHA-256 differs/)
        expect((yield* Effect.flip(open(computation))).message).toContain("the file x did not arrive")
        yield* put("c", "x", bytes)
        yield* open(computation)
      }))

    claim("refuses hostile names, all 500, and touches nothing outside", (made) =>
      Effect.gen(function*() {
        const { connection, leaseId, offer, open, transfer } = yield* client(made)
        yield* open(NodeClients.aComputation("c"))
        const before = fs.readdirSync(path.dirname(made.home)).toSorted()
        const bytes = Buffer.from("hostile")
        // Half of a character becomes a harmless one in UTF-8.
        for (const name of hostileNames.filter((one) => one.isWellFormed())) {
          const refused = yield* Effect.flip(offer(withFiles("h", [anEntry(name, bytes)])))
          expect([name, refused._tag]).toEqual([name, "ComputationRefused"])
          const put = yield* Effect.exit(transfer.put({
            computationId: "c",
            target: { _tag: "File", path: name, mode: 0o644, modifiedMillis: 0 },
            content: { _tag: "Bytes", bytes },
            what: "it"
          }))
          expect([name, put._tag]).toEqual([name, "Failure"])
        }
        const computation = withFiles("d", [], { destPath: "../../x" })
        expect((yield* Effect.flip(connection.openComputation(leaseId, computation)))._tag).toBe("ComputationRefused")
        expect(fs.readdirSync(path.dirname(made.home)).toSorted()).toEqual(before)
        expect(fs.readdirSync(made.opened("c").directory)).toEqual([])
      }))

    claim("gives nothing of a computation to another lease, a thousand times", (made) =>
      Effect.gen(function*() {
        const { open } = yield* client(made)
        const other = yield* client(made)
        yield* open(NodeClients.aComputation("c"))
        const { directory, sendFile, values } = made.opened("c")
        fs.writeFileSync(path.join(directory, "out"), "mine")
        fs.writeFileSync(path.join(values, resultName({ jobId: 1, attempt: 1 })), "mine")
        const { signal } = new AbortController()
        const out = { file: path.join(directory, "out"), path: "out", sizeBytes: 4, mode: 0o644, modifiedMillis: 0 }
        sendFile({ ...out, fileId: 1, jobId: 1, signal })
        const before = [directory, values].map((one) => fs.readdirSync(one).toSorted())
        const { getBytes, put } = other.transfer
        const content = { _tag: "Bytes", bytes: Buffer.from("evil") } as const
        const file = { _tag: "File", path: "out", mode: 0o644, modifiedMillis: 0 } as const
        const what = { computationId: "c", what: "it" }
        const tries: ReadonlyArray<Effect.Effect<unknown, { readonly _tag: string }>> = [
          getBytes({ ...what, source: { _tag: "Result", jobId: 1, attempt: 1 }, sizeBytes: 4 }),
          getBytes({ ...what, source: { _tag: "JobFile", fileId: 1 }, sizeBytes: 4 }),
          put({ ...what, target: { _tag: "Arguments", jobId: 1, attempt: 1 }, content }),
          put({ ...what, target: file, content })
        ]
        yield* Effect.forEach(Array.from({ length: 1000 }), (_, n) =>
          Effect.map(Effect.flip(tries[n % tries.length]!), ({ _tag }) => expect(_tag).toBe("TransferFailed")), {
          concurrency: 50,
          discard: true
        })
        expect([directory, values].map((one) =>
          fs.readdirSync(one).toSorted()
        )).toEqual(before)
        expect(fs.readFileSync(path.join(directory, "out"), "utf8")).toBe("mine")
      }))

    claim(
      "writes through no link, device, pipe or directory that a job has put at a name, nor into one above it",
      (made) =>
        Effect.gen(function*() {
          const { offer, open, put, transfer } = yield* client(made)
          yield* open(NodeClients.aComputation("c"))
          const { directory } = made.opened("c")
          const outside = path.join(made.directory, "outside")
          fs.mkdirSync(outside)
          fs.writeFileSync(path.join(outside, "x"), "mine")
          fs.linkSync(path.join(outside, "x"), path.join(directory, "hard"))
          fs.symlinkSync("/dev/null", path.join(directory, "device"))
          execFileSync("mkfifo", [path.join(directory, "pipe")])
          fs.mkdirSync(path.join(directory, "folder"))
          const bytes = Buffer.from("theirs")
          const exits = yield* Effect.forEach(["hard", "device", "pipe", "folder"], (name) =>
            Effect.exit(transfer.put({
              computationId: "c",
              target: { _tag: "File", path: name, mode: 0o644, modifiedMillis: 0 },
              content: { _tag: "Bytes", bytes },
              what: name
            })))
          expect(exits.map(({ _tag }) => _tag)).toEqual(["Success", "Success", "Success", "Failure"])
          for (const name of ["hard", "device", "pipe"]) {
            expect(fs.lstatSync(path.join(directory, name)).isFile()).toBe(true)
            expect(fs.readFileSync(path.join(directory, name), "utf8")).toBe("theirs")
          }
          // A shared directory of jobs, where one has put a link in place of a parent while a file was on its way.
          const entry = anEntry("sub/x", bytes)
          const shared = withFiles("d", [], { destPath: "shared" })
          yield* open(shared)
          const second = withFiles("e", [entry], { destPath: "shared" })
          yield* offer(second)
          fs.symlinkSync(outside, path.join(made.opened("d").directory, "sub"))
          expect((yield* Effect.exit(put("e", "sub/x", bytes)))._tag).toBe("Failure")
          expect(fs.readdirSync(outside)).toEqual(["x"])
          expect(fs.readFileSync(path.join(outside, "x"), "utf8")).toBe("mine")
        })
    )

    claim("follows no link that a job has put into its directory", (made) =>
      Effect.gen(function*() {
        const { open, transfer } = yield* client(made)
        yield* open(NodeClients.aComputation("c"))
        const { directory } = made.opened("c")
        const outside = path.join(made.directory, "outside")
        fs.writeFileSync(outside, "mine")
        fs.symlinkSync(outside, path.join(directory, "link"))
        yield* transfer.put({
          computationId: "c",
          target: { _tag: "File", path: "link", mode: 0o644, modifiedMillis: 0 },
          content: { _tag: "Bytes", bytes: Buffer.from("theirs") },
          what: "it"
        })
        expect(fs.readFileSync(outside, "utf8")).toBe("mine")
        expect(fs.readFileSync(path.join(directory, "link"), "utf8")).toBe("theirs")
      }))

    claim("says both sizes of a file that is larger than the node takes", (made) =>
      Effect.gen(function*() {
        const { offer, open, transfer } = yield* client(made)
        yield* open(NodeClients.aComputation("c"))
        const entry = { ...anEntry("x", Buffer.from("")), sizeBytes: 10_000_001 }
        const refused = yield* Effect.flip(offer(withFiles("d", [entry])))
        expect(refused.message).toMatch(/file x has 10000001 bytes, more than the 10000000 that this node takes/)
        const error = yield* Effect.flip(transfer.put({
          computationId: "c",
          target: { _tag: "File", path: "x", mode: 0o644, modifiedMillis: 0 },
          content: { _tag: "Bytes", bytes: new Uint8Array(10_000_001) },
          what: "x"
        }))
        expect(error).toMatchObject({ _tag: "FileTooLarge", sizeBytes: 10_000_001, limitBytes: 10_000_000 })
      }))

    claim(
      "keeps the directory of a destPath when asked, and takes up there by content",
      (made) =>
        Effect.gen(function*() {
          const { close, offer, open, put } = yield* client(made)
          const [bytes, other] = [randomBytes(10_000), randomBytes(10_000)]
          const entries = [anEntry("x", bytes), anEntry("y", other)]
          const kept = withFiles("a", entries, { destPath: "data/of mine", keepFiles: true })
          expect(yield* offer(kept)).toEqual([0, 1])
          yield* put("a", "x", bytes)
          yield* put("a", "y", other)
          yield* open(kept)
          const { directory } = made.opened("a")
          yield* close("a")
          // Of the same size, and as if it had not been touched.
          const { atime, mtime } = fs.statSync(path.join(directory, "y"))
          fs.writeFileSync(path.join(directory, "y"), randomBytes(10_000))
          fs.utimesSync(path.join(directory, "y"), atime, mtime)
          const again = withFiles("b", entries, { destPath: "data/of mine" })
          expect(yield* offer(again)).toEqual([1])
          yield* put("b", "y", other)
          yield* open(again)
          expect(made.opened("b").directory).toBe(directory)
          yield* close("b")
          expect(fs.existsSync(directory)).toBe(false)
        })
    )

    claim(
      "removes a shared destPath with the last cluster that uses it, and keeps users apart",
      (made) =>
        Effect.gen(function*() {
          const { close, open } = yield* client(made)
          const shared = (id: string) => withFiles(id, [], { destPath: "shared" })
          yield* open(shared("a"))
          yield* open(shared("b"))
          const other = yield* client(made, "other@here")
          yield* other.open(shared("c"))
          const { directory } = made.opened("a")
          expect(made.opened("b").directory).toBe(directory)
          expect(made.opened("c").directory).not.toBe(directory)
          yield* close("a")
          expect(fs.existsSync(directory)).toBe(true)
          yield* close("b")
          expect(fs.existsSync(directory)).toBe(false)
          expect(fs.existsSync(made.opened("c").directory)).toBe(true)
        })
    )

    claim("carries large arguments there and results back, and removes both", (made) =>
      Effect.gen(function*() {
        const { open, transfer } = yield* client(made)
        yield* open(NodeClients.aComputation("c"))
        const { values } = made.opened("c")
        const bytes = randomBytes(5_000_000)
        const execution = { jobId: 7, attempt: 2 }
        yield* transfer.put({
          computationId: "c",
          target: { _tag: "Arguments", ...execution },
          content: { _tag: "Bytes", bytes },
          what: "arguments"
        })
        const file = path.join(values, argumentsName(execution))
        expect(fs.readFileSync(file).equals(bytes)).toBe(true)
        fs.renameSync(file, path.join(values, resultName(execution)))
        const source = { _tag: "Result", ...execution } as const
        const got = yield* transfer.getBytes({ computationId: "c", source, sizeBytes: 5_000_000, what: "result" })
        expect(Buffer.compare(got, bytes)).toBe(0)
        // It goes when the node has heard that it arrived, on the way of its own that large contents take.
        yield* Effect.sync(() => fs.readdirSync(values).length).pipe(
          Effect.repeat({ until: (count) => count === 0, schedule: Schedule.spaced("5 millis") })
        )
        const gone = yield* Effect.flip(transfer.getBytes({ computationId: "c", source, sizeBytes: 1, what: "result" }))
        expect(gone._tag).toBe("TransferFailed")
      }))

    claim("fetches a file of a job, and nothing more of it once the job is gone", (made) =>
      Effect.gen(function*() {
        const { open, transfer } = yield* client(made)
        yield* open(NodeClients.aComputation("c"))
        const { directory, sendFile } = made.opened("c")
        const bytes = randomBytes(3_000_000)
        fs.writeFileSync(path.join(directory, "out"), bytes)
        const controller = new AbortController()
        const request = {
          computationId: "c",
          source: { _tag: "JobFile", fileId: 1 },
          sizeBytes: 3_000_000,
          what: "out"
        } as const
        sendFile({
          fileId: 1,
          jobId: 1,
          file: path.join(directory, "out"),
          path: "out",
          sizeBytes: bytes.length,
          mode: 0o644,
          modifiedMillis: 0,
          signal: controller.signal
        })
        const target = path.join(made.directory, "fetched")
        yield* transfer.getFile(request, target)
        expect(fs.readFileSync(target).equals(bytes)).toBe(true)
        controller.abort()
        const error = yield* Effect.flip(transfer.getFile(request, `${target}2`))
        expect(error.reason).toContain("the job that sent the file has ended")
        expect(fs.existsSync(`${target}2`)).toBe(false)
      }))

    claim(
      "leaves nothing of a transfer that was interrupted, and goes on with others",
      (made) =>
        Effect.gen(function*() {
          const { open, transfer } = yield* client(made)
          yield* open(NodeClients.aComputation("c"))
          const put = (name: string, onProgress?: (sent: number) => void) =>
            transfer.put({
              computationId: "c",
              target: { _tag: "File", path: name, mode: 0o644, modifiedMillis: 0 },
              content: { _tag: "Bytes", bytes: randomBytes(9_000_000) },
              what: name,
              onProgress
            })
          const begun = yield* Deferred.make<void>()
          const fiber = yield* Effect.forkScoped(put("cut", () => Deferred.doneUnsafe(begun, Effect.void)))
          yield* Deferred.await(begun)
          yield* Fiber.interrupt(fiber)
          yield* put("whole")
          expect(fs.readdirSync(made.opened("c").directory)).toEqual(["whole"])
        })
    )

    claim("reports progress that only grows, up to the size", (made) =>
      Effect.gen(function*() {
        const { open, transfer } = yield* client(made)
        yield* open(NodeClients.aComputation("c"))
        const seen: Array<number> = []
        yield* transfer.put({
          computationId: "c",
          target: { _tag: "File", path: "x", mode: 0o644, modifiedMillis: 0 },
          content: { _tag: "Bytes", bytes: randomBytes(5_000_000) },
          what: "x",
          onProgress: (sent) => seen.push(sent)
        })
        expect(seen.length).toBeGreaterThan(5)
        expect(seen).toEqual(seen.toSorted((a, b) => a - b))
        expect(seen.at(-1)).toBe(5_000_000)
      }))
  })
}
