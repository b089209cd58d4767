/** Recovering jobs from nodes that do what a test says, over the test clock. */
import { describe, expect, it } from "@effect/vitest"
import { Effect, Fiber, Logger, Stream } from "effect"
import { TestClock } from "effect/testing"
import * as fs from "node:fs"
import * as os from "node:os"
import { join } from "node:path"
import { afterEach, beforeEach } from "vitest"
import { NodeUnreachable, NothingKept } from "../../../src/domain/NodeError.ts"
import type { KeptEvent } from "../../../src/domain/NodeRpcs.ts"
import { Outcome, ReplyFlags } from "../../../src/domain/wire/Entries.ts"
import * as ProcessName from "../../../src/layers/files/ProcessName.ts"
import * as RecoverJobs from "../../../src/programs/client/RecoverJobs.ts"
import * as Values from "../../../src/slot/Values.ts"
import * as KeptNodes from "../../support/KeptNodes.ts"
import { lease, replies, replyOf } from "../../support/KeptNodes.ts"

const key = "the key"
let directory = ""
let file = ""

beforeEach(() => {
  directory = fs.mkdtempSync(join(os.tmpdir(), "dispy-recover-test-"))
  file = join(directory, "recover")
})

afterEach(() => fs.rmSync(directory, { recursive: true }))

const lost = new NodeUnreachable({ address: "a:1", reason: "the connection was reset" })

/** Tells this and ends, or breaks, or goes on. */
const telling = (...events: ReadonlyArray<KeptEvent>): Stream.Stream<KeptEvent> => Stream.fromIterable(events)
const breaking = (...events: ReadonlyArray<KeptEvent>) => Stream.concat(telling(...events), Stream.fail(lost))
const running = (...events: ReadonlyArray<KeptEvent>) => Stream.concat(telling(...events), Stream.never)

/** Recovers from these nodes in the background; what is logged comes along. */
const start = Effect.fnUntraced(function*(
  nodes: Readonly<Record<string, KeptNodes.KeptNode>>,
  options: Parameters<typeof RecoverJobs.recoverJobsWith>[1] = {}
) {
  const asked = KeptNodes.nobody()
  const messages: Array<string> = []
  const fiber = yield* RecoverJobs.recoverJobsWith(file, { filesDirectory: directory, ...options }).pipe(
    Effect.provide([
      KeptNodes.layer(nodes, key, asked),
      Logger.layer([Logger.make(({ message }) => void messages.push(String(message)))])
    ]),
    Effect.forkChild
  )
  return { asked, messages, fiber }
})

const numbers = (jobs: ReadonlyArray<RecoverJobs.RecoveredJob>) =>
  jobs.map(({ number }) => number).toSorted((a, b) => a - b)

describe("recoverJobs", () => {
  it.effect("gives every job of all nodes with what became of it, has the nodes forget, and removes the file", () =>
    Effect.gen(function*() {
      KeptNodes.write(file, ["a", "b"], { key })
      const thrown = Values.encodeError(new TypeError("no such pixel"))
      const { asked, fiber } = yield* start({
        "a:1": {
          stories: [telling(
            lease(1, 2),
            replies(replyOf(1, { deep: [1n] })),
            replies(replyOf(2, thrown, {
              outcome: Outcome.failed,
              result: thrown
            }))
          )]
        },
        "b:1": {
          stories: [telling(
            lease(3, 4, 5),
            replies(
              replyOf(3, 0, { outcome: Outcome.cancelled, startMillis: 0 }),
              replyOf(4, 0, { outcome: Outcome.timedOut })
            ),
            { _tag: "KeptLost", leaseId: "lease", computationId: "c", jobIds: [5], reason: "node b was killed" }
          )]
        }
      })
      const jobs = yield* Fiber.join(fiber)
      expect([jobs.isComplete, jobs.unfinished]).toEqual([true, []])
      expect(jobs.toSorted((a, b) => a.number - b.number).map((job) => [job.number, job.status, job.exception?._tag]))
        .toEqual([
          [1, "Finished", undefined],
          [2, "Terminated", "JobFailed"],
          [3, "Cancelled", "JobCancelled"],
          [4, "Terminated", "JobTimedOut"],
          [5, "Abandoned", "NodeLost"]
        ])
      expect(jobs.find(({ number }) => number === 1)).toEqual({
        number: 1,
        computation: "compute",
        computationId: "c",
        status: "Finished",
        result: { deep: [1n] },
        exception: undefined,
        stdout: "job 1\n",
        stderr: "",
        ipAddr: "a:1",
        node: "node a",
        startTime: 1000,
        endTime: 1002,
        provisionalResults: [],
        files: []
      })
      const failed = jobs.find(({ number }) => number === 2)?.exception
      expect(failed?.message).toBe("job 2 failed on node a:1: TypeError: no such pixel")
      expect(failed?.stack).toContain("RecoverJobs.test.ts")
      expect(jobs.find(({ number }) => number === 4)?.exception?.message).toContain(
        "longer than its timeout on node b:1"
      )
      expect(asked.forgotten.toSorted()).toEqual(["a:1", "b:1"])
      expect(fs.existsSync(file)).toBe(false)
    }))

  it.effect("begins anew where a connection breaks, and takes nothing twice", () =>
    Effect.gen(function*() {
      KeptNodes.write(file, ["a"], { key })
      const first = replies(replyOf(1, "first"), replyOf(2, 10, { outcome: Outcome.provisional }))
      const { asked, fiber } = yield* start({
        "a:1": {
          stories: [
            breaking(lease(1, 2), first),
            telling(lease(1, 2), first, replies(replyOf(2, 20, { outcome: Outcome.provisional }), replyOf(2, "second")))
          ]
        }
      })
      yield* TestClock.adjust("1 seconds")
      const jobs = yield* Fiber.join(fiber)
      expect(jobs.map((job) => [job.number, job.result, job.provisionalResults])).toEqual([
        [1, "first", []],
        [2, "second", [10, 20]]
      ])
      expect(asked.recovered).toEqual(["a:1", "a:1"])
    }))

  it.effect("fetches large results and sent files under the lease that is kept", () =>
    Effect.gen(function*() {
      KeptNodes.write(file, ["a"], { key })
      const large = new Uint8Array(8)
      new DataView(large.buffer).setFloat64(0, 3_000_000, true)
      const sent: KeptEvent = {
        _tag: "KeptFile",
        leaseId: "lease",
        computationId: "c",
        fileId: 4,
        jobId: 1,
        path: "out/1.csv",
        sizeBytes: 3,
        mode: 0o640,
        modifiedMillis: 0
      }
      const { asked, fiber } = yield* start({
        "a:1": {
          stories: [telling(lease(1), sent, replies(replyOf(1, 0, { flags: ReplyFlags.largeResult, result: large })))],
          contents: new Map<number | string, Uint8Array>([
            [1, Values.encode("x".repeat(10))],
            ["out/1.csv", new Uint8Array([1, 2, 3])]
          ])
        }
      })
      const [job] = yield* Fiber.join(fiber)
      expect(job).toMatchObject({ result: "x".repeat(10), files: [join(directory, "out/1.csv")] })
      expect([...fs.readFileSync(join(directory, "out/1.csv"))]).toEqual([1, 2, 3])
      expect(asked.fetched).toEqual(["file out/1.csv under lease", "the result of job 1 under lease"])
    }))

  it.effect("leaves what cannot be fetched where it is, and gives the rest", () =>
    Effect.gen(function*() {
      KeptNodes.write(file, ["a"], { key })
      const large = replyOf(1, 0, { flags: ReplyFlags.largeResult, result: new Uint8Array(8) })
      const { asked, fiber, messages } = yield* start({
        "a:1": { stories: [telling(lease(1, 2), replies(large, replyOf(2, "small")))] }
      })
      yield* TestClock.adjust("3 seconds")
      const jobs = yield* Fiber.join(fiber)
      expect(jobs.map(({ result }) => result)).toEqual(["small"])
      expect(jobs.unfinished).toEqual([{ node: "a:1", reason: "the result of job 1: it is gone", running: 1 }])
      expect(messages.join()).toContain("a:1 (the result of job 1: it is gone)")
      expect([asked.forgotten, fs.existsSync(file)]).toEqual([[], true])
    }))

  it.effect("waits for running jobs and for nodes that do not answer, and says so; a timeout gives what there is", () =>
    Effect.gen(function*() {
      KeptNodes.write(file, ["a", "gone"], { key })
      const { asked, fiber, messages } = yield* start(
        { "a:1": { stories: [running(lease(1, 2), replies(replyOf(1, "early")))] } },
        { timeout: "1 minute" }
      )
      yield* TestClock.adjust("6 seconds")
      expect(messages).toEqual([
        "still recovering from a:1 (1 job has not ended), gone:1 (connection refused)"
      ])
      yield* TestClock.adjust("54 seconds")
      const jobs = yield* Fiber.join(fiber)
      expect(numbers(jobs)).toEqual([1])
      expect([jobs.isComplete, jobs.unfinished.map(({ node }) => node)]).toEqual([false, ["a:1", "gone:1"]])
      expect(asked.forgotten).toEqual([])
      // The next try has the rest, and only that.
      const next = yield* start({
        "a:1": { stories: [telling(lease(1, 2), replies(replyOf(1, "early"), replyOf(2, "late")))] },
        "gone:1": { stories: [telling()] }
      })
      const rest = yield* Fiber.join(next.fiber)
      expect(rest.map(({ result }) => result)).toEqual(["late"])
      expect([rest.isComplete, fs.existsSync(file)]).toEqual([true, false])
    }))

  it.effect("ends running jobs at once with terminatePending, and with a timeout when that is over", () =>
    Effect.gen(function*() {
      const node = { stories: [running(lease(1)), telling(lease(1), replies(replyOf(1, "partial")))] }
      KeptNodes.write(file, ["a"], { key })
      const patient = yield* start({ "a:1": node }, { terminatePending: true, timeout: "10 seconds" })
      yield* TestClock.adjust("10 seconds")
      expect(numbers(yield* Fiber.join(patient.fiber))).toEqual([1])
      expect(patient.asked.recovered).toEqual(["a:1", "a:1!"])
      KeptNodes.write(file, ["a"], { key })
      const strict = yield* start({ "a:1": { stories: [telling(lease(1))] } }, { terminatePending: true })
      yield* Fiber.join(strict.fiber)
      expect(strict.asked.recovered).toEqual(["a:1!"])
    }))

  it.effect("counts a node that has nothing as done, and waits for one whose client is connected", () =>
    Effect.gen(function*() {
      KeptNodes.write(file, ["a", "b"], { key })
      const inUse = Stream.fail(new NothingKept({ node: "b", reason: "its client is connected", isInUse: true }))
      const { asked, fiber, messages } = yield* start({
        "a:1": { stories: [Stream.fail(new NothingKept({ node: "a", reason: "it keeps nothing" }))] },
        "b:1": { stories: [...Array.from({ length: 7 }, () => inUse), telling(lease(), replies(replyOf(1, 1)))] }
      })
      yield* TestClock.adjust("5 seconds")
      expect(messages).toEqual(["still recovering from b:1 (its client is connected)"])
      yield* TestClock.adjust("2 seconds")
      expect(numbers(yield* Fiber.join(fiber))).toEqual([1])
      expect(asked.forgotten).toEqual(["a:1", "b:1"])
    }))

  it.effect("keeps a node in the file that could not be told to forget, and gives its jobs only once", () =>
    Effect.gen(function*() {
      KeptNodes.write(file, ["a"], { key })
      const node = { stories: [telling(lease(), replies(replyOf(1, 1)))] }
      const deaf = yield* start({ "a:1": { ...node, isDeafToForget: true } })
      expect(numbers(yield* Fiber.join(deaf.fiber))).toEqual([1])
      expect(deaf.messages.join()).toContain("node a:1 could not be told that its results are here")
      expect(fs.existsSync(file)).toBe(true)
      const again = yield* start({ "a:1": node })
      expect(numbers(yield* Fiber.join(again.fiber))).toEqual([])
      expect([again.asked.forgotten, fs.existsSync(file)]).toEqual([["a:1"], false])
    }))

  it.effect("gives what it has where the file cannot be written any more, and makes no other", () =>
    Effect.gen(function*() {
      KeptNodes.write(file, ["a"], { key })
      const { asked, fiber, messages } = yield* start({
        "a:1": { stories: [breaking(lease(1)), telling(lease(1), replies(replyOf(1, 1)))] }
      })
      yield* Effect.yieldNow
      fs.rmSync(file)
      yield* TestClock.adjust("1 seconds")
      expect(numbers(yield* Fiber.join(fiber))).toEqual([1])
      expect(messages.join()).toContain("cannot be written (ENOENT")
      expect([asked.forgotten, fs.existsSync(file)]).toEqual([["a:1"], false])
    }))

  it.effect("says of a job that its node does not know any more that it is lost", () =>
    Effect.gen(function*() {
      KeptNodes.write(file, ["a"], { key })
      const { fiber } = yield* start({ "a:1": { stories: [telling(lease(7))] } })
      expect(yield* Fiber.join(fiber)).toMatchObject([{
        number: 7,
        status: "Abandoned",
        exception: { _tag: "NodeLost" }
      }])
    }))

  it.effect("gives all jobs again when it was interrupted", () =>
    Effect.gen(function*() {
      KeptNodes.write(file, ["a", "b"], { key })
      const nodes = {
        "a:1": { stories: [telling(lease(), replies(replyOf(1, 1)))] },
        "b:1": { stories: [running(lease(2)), telling(lease(2), replies(replyOf(2, 2)))] }
      }
      const first = yield* start(nodes)
      yield* TestClock.adjust("1 seconds")
      yield* Fiber.interrupt(first.fiber)
      expect(first.asked.forgotten).toEqual([])
      const second = yield* start({ ...nodes, "b:1": { stories: nodes["b:1"].stories.slice(1) } })
      expect(numbers(yield* Fiber.join(second.fiber))).toEqual([1, 2])
    }))

  it.effect("refuses a file that is none, one of a program that runs, and options that there are not", () =>
    Effect.gen(function*() {
      const failure = (options: Parameters<typeof RecoverJobs.recoverJobsWith>[1] = {}) =>
        RecoverJobs.recoverJobsWith(file, options).pipe(
          Effect.provide(KeptNodes.layer({}, key, KeptNodes.nobody())),
          Effect.flip,
          Effect.map(({ message }) => message)
        )
      expect(yield* failure()).toBe(
        `recover file ${file}: there is no such file; a cluster that was closed has removed its own`
      )
      fs.writeFileSync(file, "something else")
      expect(yield* failure()).toContain("it is not a recover file")
      KeptNodes.write(file, [], { key, header: { host: os.hostname(), process: ProcessName.own() } })
      expect(yield* failure()).toBe(
        `recover file ${file}: its program still runs (me@here, process 1); wait for its end, or end it`
      )
      KeptNodes.write(file, [], { key })
      expect(yield* failure({ timeout: 0 })).toContain("0 leaves nodes no time to answer")
      expect(yield* failure({ timeot: 1 } as object)).toContain("did you mean timeout?")
      const empty = yield* start({})
      expect(yield* Fiber.join(empty.fiber)).toMatchObject({ length: 0, isComplete: true })
      expect(fs.existsSync(file)).toBe(false)
    }))
})

describe("recoverJobsStream", () => {
  const collect = (nodes: Readonly<Record<string, KeptNodes.KeptNode>>, asked: KeptNodes.Asked, take: number) => {
    const seen: Array<number> = []
    return RecoverJobs.recoverJobsStreamWith(file, { timeout: "5 seconds" }).pipe(
      Stream.take(take),
      Stream.runForEach(({ number }) => Effect.sync(() => void seen.push(number))),
      Effect.provide(KeptNodes.layer(nodes, key, asked)),
      Effect.map(() => seen)
    )
  }

  it.effect("hands a job over when the next is asked for: who dies with one in hand gets it again, and no other", () =>
    Effect.gen(function*() {
      KeptNodes.write(file, ["a"], { key })
      const nodes = { "a:1": { stories: [telling(lease(), replies(replyOf(1, 1), replyOf(2, 2), replyOf(3, 3)))] } }
      const asked = KeptNodes.nobody()
      expect(yield* collect(nodes, asked, 2)).toEqual([1, 2])
      expect(asked.forgotten).toEqual([])
      expect(yield* collect(nodes, asked, 9)).toEqual([2, 3])
      expect([asked.forgotten, fs.existsSync(file)]).toEqual([["a:1"], false])
    }))

  it.effect("ends with an error that names what is left when its time is over", () =>
    Effect.gen(function*() {
      KeptNodes.write(file, ["a"], { key })
      const fiber = yield* Effect.forkChild(
        Effect.flip(collect({ "a:1": { stories: [running(lease(1))] } }, KeptNodes.nobody(), 9))
      )
      yield* TestClock.adjust("5 seconds")
      expect((yield* Fiber.join(fiber)).message).toBe(
        `recover file ${file}: there is more to recover from a:1 (1 job has not ended); ` +
          "try again later with the same file"
      )
    }))
})
