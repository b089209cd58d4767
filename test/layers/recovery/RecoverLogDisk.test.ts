/** Recover files on disks that are full or read-only: what is refused, what waits, and what is there in the end. */
import { describe, expect, it } from "@effect/vitest"
import { Effect, Layer, Logger, Result } from "effect"
import * as fs from "node:fs"
import { join } from "node:path"
import { setImmediate } from "node:timers/promises"
import { beforeAll } from "vitest"
import type * as JobEntries from "../../../src/domain/recovery/JobEntries.ts"
import * as RecoverFile from "../../../src/domain/recovery/RecoverFile.ts"
import { noBytes } from "../../../src/domain/wire/Entries.ts"
import * as Entries from "../../../src/domain/wire/Entries.ts"
import * as RecoverLogFile from "../../../src/layers/recovery/RecoverLogFile.ts"
import { type JobJournal, RecoverLog } from "../../../src/services/RecoverLog.ts"
import { eventually } from "../../support/Eventually.ts"
import { replyOf } from "../../support/KeptNodes.ts"
import * as SmallDisk from "../../support/SmallDisk.ts"

let canMount = false

beforeAll(async () => {
  canMount = await Effect.runPromise(Effect.scoped(Effect.map(SmallDisk.make(1), (home) => home !== undefined)))
})

const read = (file: string) => Result.getOrThrow(RecoverFile.read(fs.readFileSync(file)))

const open = Effect.fnUntraced(function*(file: string, messages: Array<string> = []) {
  const context = yield* Layer.build(
    RecoverLogFile.layer({
      file,
      client: "me@here, process 1",
      credentials: {},
      nodeList: ["alpha"],
      isSynced: false
    }).pipe(Layer.provideMerge(Logger.layer([Logger.make(({ message }) => void messages.push(String(message)))])))
  )
  return yield* Effect.provideContext(RecoverLog, context)
})

const durable = {
  computation: {
    id: "c",
    name: "compute",
    code: { _tag: "FunctionCode" as const, source: "() => 1", captures: noBytes },
    limits: { graceMillis: 1, outputLimitBytes: 1 }
  },
  sources: [],
  setupArgs: undefined
}

const openDurable = Effect.fnUntraced(function*(file: string, messages?: Array<string>) {
  const log = yield* open(file, messages)
  const journal = (yield* log.opened({ id: "c", name: "compute", mayRunTwice: false, durable }))!
  return { log, journal }
})

const jobOf = (number: number, bytes: number): JobEntries.JobFields => ({
  number,
  flags: 0,
  timeoutMillis: 0,
  details: undefined,
  args: new Uint8Array(bytes).fill(number)
})

/** Submits jobs until one is refused; the number of that one. */
const fill = (journal: JobJournal, bytes: number): readonly [number, Error] => {
  for (let number = 1;; number++) {
    const taken = journal.accept(jobOf(number, bytes))
    if (Result.isFailure(taken)) return [number, taken.failure]
  }
}

const numbersOf = (file: string) => [...read(file).queues.get("c")!.jobs.keys()]

const upTo = (count: number) => Array.from({ length: count }, (_, i) => i + 1)

/** Two turns of the event loop: in the first is written what was said, in the second it is compacted. */
const turns = Effect.promise(async () => {
  await setImmediate()
  await setImmediate()
})

describe("jobs of a durable cluster", () => {
  it.live("are refused by name when the disk is full, and taken again when there is room; none is lost", ({ skip }) =>
    Effect.gen(function*() {
      if (!canMount) return skip("this user cannot mount a file system")
      for (const bytes of [3000, 100_000]) {
        const home = (yield* SmallDisk.make(1))!
        const file = join(home, "recover")
        fs.writeFileSync(join(home, "other"), new Uint8Array(300_000))
        const { journal } = yield* openDurable(file)
        const [refused, error] = fill(journal, bytes)
        expect(refused).toBeGreaterThan(3)
        expect(error).toMatchObject({ _tag: "JobNotWritten", cluster: "compute", file, reason: "the disk is full" })
        expect(error.message).toMatch(
          /bytes are free there\)\. Jobs that it has go on; make room and submit the job again/
        )
        // What is said of jobs that were taken still fits.
        journal.sent("alpha:1", upTo(refused - 1))
        yield* turns
        expect(numbersOf(file)).toEqual(upTo(refused - 1))
        expect(read(file).problems).toEqual([])
        fs.rmSync(join(home, "other"))
        expect(Result.isSuccess(journal.accept(jobOf(refused, bytes)))).toBe(true)
        yield* turns
        expect(numbersOf(file)).toEqual(upTo(refused))
      }
    }).pipe(Effect.scoped))

  it.live("keep their arguments beside the file where they are large, until their outcome is noted", () =>
    Effect.gen(function*() {
      const home = yield* Effect.acquireRelease(
        Effect.sync(() => fs.mkdtempSync("/tmp/dispy-recover-disk-")),
        (directory) => Effect.sync(() => fs.rmSync(directory, { recursive: true }))
      )
      const file = join(home, "recover")
      yield* Effect.scoped(Effect.gen(function*() {
        const { journal } = yield* openDurable(file)
        const held = [1, 2].map((number) => Result.getOrThrow(journal.accept(jobOf(number, 70_000)))!.path)
        expect(Result.getOrThrow(journal.accept(jobOf(3, 60_000)))).toBeUndefined()
        expect(held.map((name) => [fs.statSync(name).size, fs.readFileSync(name)[0]])).toEqual([[70_000, 1], [
          70_000,
          2
        ]])
        yield* turns
        expect(fs.statSync(file).size).toBeLessThan(200_000)
        journal.noted(1)
        yield* turns
        yield* Effect.promise(() =>
          eventually(() => expect(held.map((name) => fs.existsSync(name))).toEqual([false, true]))
        )
      }))
      expect(fs.readdirSync(home)).toEqual([])
    }).pipe(Effect.scoped))

  it.live("are written anew without those that are noted, when these are most of them", () =>
    Effect.gen(function*() {
      const home = yield* Effect.acquireRelease(
        Effect.sync(() => fs.mkdtempSync("/tmp/dispy-recover-disk-")),
        (directory) => Effect.sync(() => fs.rmSync(directory, { recursive: true }))
      )
      const file = join(home, "recover")
      const { journal, log } = yield* openDurable(file)
      yield* log.key
      yield* log.leased({ host: "alpha", port: 1, name: "a" })
      const count = 5000
      for (const number of upTo(count)) journal.accept(jobOf(number, 1000))
      journal.sent("alpha:1", upTo(count))
      journal.replied("alpha:1", Entries.encodeReplies([replyOf(count, "the last"), replyOf(1, "the first")]))
      yield* turns
      const before = fs.statSync(file).size
      for (const number of upTo(count - 10)) journal.noted(number)
      yield* turns
      expect(fs.statSync(file).size).toBeLessThan(before / 10)
      const { nodes, problems, queues } = read(file)
      expect([[...nodes.keys()], problems]).toEqual([["alpha:1"], []])
      const queue = queues.get("c")!
      expect(queue.noted.bounds).toEqual([1, count - 10])
      expect(
        [...queue.jobs.values()].map(({ args, isOut, number, replies }) => [number, args.length, isOut, replies.length])
      )
        .toEqual(upTo(10).map((i) => [count - 10 + i, 1000, true, i === 10 ? 1 : 0]))
      // It goes on behind that.
      expect(Result.isSuccess(journal.accept(jobOf(count + 1, 10)))).toBe(true)
      log.flush()
      expect(numbersOf(file)).toContain(count + 1)
      expect(fs.statSync(file).mode & 0o777).toBe(0o600)
      expect(fs.readdirSync(home)).toEqual(["recover"])
    }).pipe(Effect.scoped))
})

describe("a recover file", () => {
  it.live(
    "on a disk that is full says so once, and has everything as soon as there is room",
    ({ skip }) =>
      Effect.gen(function*() {
        if (!canMount) return skip("this user cannot mount a file system")
        const home = (yield* SmallDisk.make(1))!
        const file = join(home, "recover")
        const messages: Array<string> = []
        yield* Effect.scoped(Effect.gen(function*() {
          const log = yield* open(file, messages)
          const key = yield* log.key
          expect(key).toBeDefined()
          fs.writeFileSync(join(home, "other"), new Uint8Array(2 ** 20 - 4096))
          const nodes = Array.from({ length: 60 }, (_, i) => ({ host: `alpha${i}`, port: 1, name: "a".repeat(100) }))
          yield* Effect.forEach(nodes, (node) => log.leased(node), { discard: true })
          expect(messages).toEqual([expect.stringMatching(/cannot be written \(the disk is full\).*It is tried again/)])
          expect(read(file).nodes.size).toBeLessThan(60)
          expect(read(file).problems).toEqual([])
          fs.rmSync(join(home, "other"))
          yield* Effect.promise(() => eventually(() => expect(read(file).nodes.size).toBe(60)))
          expect(read(file)).toMatchObject({ header: { recoverKey: key }, problems: [] })
          const again = `recover file ${file} is written again`
          yield* Effect.promise(() => eventually(() => expect(messages.at(-1)).toBe(again)))
          expect(messages).toHaveLength(2)
        }))
        expect(fs.existsSync(file)).toBe(false)
      }).pipe(Effect.scoped),
    60_000
  )

  it.live("that cannot be made is made as soon as it can, at the next lease", ({ skip }) =>
    Effect.gen(function*() {
      if (!canMount) return skip("this user cannot mount a file system")
      const home = (yield* SmallDisk.make(1))!
      const file = join(home, "recover")
      const messages: Array<string> = []
      const { journal, log } = yield* Effect.gen(function*() {
        const made = yield* open(file, messages)
        yield* SmallDisk.setReadOnly(home, true)
        return { log: made, journal: (yield* made.opened({ id: "c", name: "compute", mayRunTwice: false, durable }))! }
      })
      const refused = journal.accept(jobOf(1, 10))
      expect(Result.isFailure(refused) && refused.failure.message).toContain(
        `${file} cannot be written (the disk is read-only`
      )
      expect(yield* log.key).toBeUndefined()
      yield* SmallDisk.setReadOnly(home, false)
      expect(yield* log.key).toBeDefined()
      expect(Result.isSuccess(journal.accept(jobOf(1, 10)))).toBe(true)
      log.flush()
      expect(numbersOf(file)).toEqual([1])
      expect(read(file).definitions.get("c")?.computation).toEqual(durable.computation)
      expect(messages).toEqual([
        expect.stringContaining("cannot be written"),
        expect.stringContaining("is written again")
      ])
    }).pipe(Effect.scoped))
})
