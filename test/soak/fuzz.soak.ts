/**
 * Ten minutes of inputs for every decoder of bytes that a peer can send, kept and changed further when they reach code
 * that none has reached (V8's own coverage). FUZZ_SEED repeats a run, FUZZ_SECONDS makes it longer or shorter.
 */
import { expect, it } from "@effect/vitest"
import { Effect, Result, Schema } from "effect"
import { RpcSerialization } from "effect/rpc"
import { randomBytes } from "node:crypto"
import { Session } from "node:inspector/promises"
import { PassThrough } from "node:stream"
import * as Datagram from "../../src/domain/discovery/Datagram.ts"
import { maxFrameBytes } from "../../src/domain/NodeInfo.ts"
import { NodeRpcs } from "../../src/domain/NodeRpcs.ts"
import * as Refusal from "../../src/domain/security/Refusal.ts"
import * as BulkFrames from "../../src/domain/transfer/BulkFrames.ts"
import * as Entries from "../../src/domain/wire/Entries.ts"
import * as FrameAssembler from "../../src/domain/wire/FrameAssembler.ts"
import * as JobDepends from "../../src/domain/wire/JobDepends.ts"
import { decodeSlotDeath } from "../../src/domain/wire/SlotDeath.ts"
import * as SlotFrames from "../../src/domain/wire/SlotFrames.ts"
import * as BulkPeer from "../../src/layers/bulk/BulkPeer.ts"
import * as BulkServer from "../../src/layers/bulk/BulkServer.ts"
import * as Values from "../../src/slot/Values.ts"
import * as HostileFrames from "../support/HostileFrames.ts"
import { aReply } from "../support/ScriptedExecutor.ts"

const seconds = Number(process.env["FUZZ_SECONDS"] ?? 600)
const seed = Number(process.env["FUZZ_SEED"] ?? randomBytes(4).readUInt32LE())

interface Target {
  readonly name: string
  readonly seeds: ReadonlyArray<Uint8Array>
  /** Throws what must not be thrown. */
  readonly run: (bytes: Uint8Array) => void
}

const sizeOf = (bytes: Uint8Array, read: (offset: number) => number): void => {
  for (let offset = 0; offset < bytes.length;) offset = read(offset)
}

/** A lease that takes nothing and has nothing. */
const aLease = (): BulkServer.BulkLease => ({
  window: BulkPeer.makeWindow(),
  connections: new Set(),
  partials: new Map(),
  receiving: new Map(),
  admit: () => {
    throw new BulkServer.Refusal("nothing is taken")
  },
  offering: () => {
    throw new BulkServer.Refusal("there is nothing")
  },
  describe: () => "",
  discard: () => {}
})

const targets = Effect.gen(function*() {
  const serialization = yield* RpcSerialization.RpcSerialization
  const frames = yield* HostileFrames.validFrames
  const codecs = new Map([...NodeRpcs.requests].map(([tag, rpc]) => [
    tag,
    Schema.decodeUnknownResult(serialization.codecFor(rpc.payloadSchema as Schema.Codec<unknown>))
  ]))
  const rules = { prefix: frames[0]!.subarray(1, 2), limit: maxFrameBytes }
  const control = (bytes: Uint8Array): void => {
    const runs = FrameAssembler.feed(FrameAssembler.make(), bytes, rules)
    const parser = serialization.makeUnsafe()
    for (const run of runs ?? []) {
      let messages: ReadonlyArray<unknown> = []
      try {
        messages = parser.decode(run)
      } catch (error) {
        if (!Schema.isSchemaError(error)) throw error
      }
      for (const message of messages as ReadonlyArray<{ readonly tag?: string; readonly payload?: unknown }>) {
        codecs.get(message.tag ?? "")?.(message.payload)
      }
    }
  }
  const mac: Datagram.Mac = () => new Uint8Array(32)
  const datagram = (bytes: Uint8Array): void => {
    for (const key of [undefined, mac]) {
      const read = Datagram.decode(bytes, key)
      if (Result.isSuccess(read)) expect(read.success.nonce).toMatch(/^[0-9a-f]{32}$/)
    }
  }
  const entries = (bytes: Uint8Array): void => {
    const view = Entries.viewOf(bytes)
    if (Entries.countReplies(bytes) >= 0) {
      sizeOf(bytes, (offset) => {
        const { result, stderr, stdout } = Entries.readReply(bytes, view, offset)
        expect(result.length + stdout.length + stderr.length).toBeLessThanOrEqual(bytes.length)
        return offset + Entries.entrySize(view, offset)
      })
      Entries.tallyEnded(bytes)
      Entries.hasLargeResults(bytes)
    }
    if (Entries.countJobs(bytes) >= 0) {
      sizeOf(bytes, (offset) => {
        JobDepends.split(Entries.jobArgs(bytes, view, offset))
        return offset + Entries.entrySize(view, offset)
      })
    }
    decodeSlotDeath(bytes)
    Refusal.decode(bytes)
  }
  const slot = (bytes: Uint8Array): void => {
    const reader = SlotFrames.makeFrameReader(1024 * 1024, () => {})
    if (reader.feed(bytes.subarray(0, bytes.length >> 1))) reader.feed(bytes.subarray(bytes.length >> 1))
  }
  const bulk = (bytes: Uint8Array): void => {
    BulkFrames.readGreeting(bytes)
    const stream = new PassThrough()
    stream.resume()
    BulkPeer.close(BulkServer.serveConnection(aLease(), stream, bytes), "enough")
  }
  const value = (bytes: Uint8Array): void => {
    try {
      Values.decode(bytes)
    } catch (error) {
      if (!(error instanceof Values.InvalidValue)) throw error
    }
  }
  const some = [
    1,
    "text",
    [1, 2.5, null],
    { a: 1, b: { c: [true] } },
    new Map([[1, new Set([2n])]]),
    new Error("x"),
    new Uint8Array(9),
    /a/g,
    [undefined, 1n],
    Object(1),
    new ArrayBuffer(4, { maxByteLength: 8 })
  ]
  return [
    { name: "control", seeds: frames, run: control },
    {
      name: "datagram",
      seeds: [...HostileFrames.datagrams(undefined), ...HostileFrames.datagrams(mac)],
      run: datagram
    },
    { name: "entries", seeds: [aReply(1), aReply(2, 1, 3, Values.encode("x"))], run: entries },
    { name: "slot", seeds: [SlotFrames.encodeFrame(SlotFrames.FromSlot.reply, aReply(1))], run: slot },
    { name: "bulk", seeds: [...HostileFrames.bulkFrames, BulkFrames.greeting("lease")], run: bulk },
    { name: "value", seeds: some.map((one) => Values.encode(one)), run: value }
  ] satisfies ReadonlyArray<Target>
}).pipe(Effect.provide(RpcSerialization.layerSchemaBinary({ maxFrameSize: maxFrameBytes })))

/** Inputs between two looks at the coverage. */
const batchSize = 500

/** Inputs that are kept for each decoder, at most. */
const corpusLimit = 5000

/** How often a piece of code ran, roughly. */
const bucketOf = (count: number): number => Math.floor(Math.log2(count / batchSize + 1) * 2)

it.live(
  `no decoder throws, hangs, or grows, whatever comes (seed ${seed}, ${seconds} s)`,
  () =>
    Effect.gen(function*() {
      process.stdout.write(`FUZZ_SEED=${seed}\n`)
      const random = HostileFrames.makeRandom(seed)
      const all = yield* targets
      const session = new Session()
      session.connect()
      yield* Effect.addFinalizer(() => Effect.sync(() => session.disconnect()))
      yield* Effect.promise(() => session.post("Profiler.enable"))
      yield* Effect.promise(() => session.post("Profiler.startPreciseCoverage", { callCount: true, detailed: true }))
      const covered = new Set<string>()
      const look = async (): Promise<boolean> => {
        const { result } = await session.post("Profiler.takePreciseCoverage")
        const before = covered.size
        for (const { functions, url } of result) {
          if (!/\/src\/(domain|layers|slot)\//.test(url) && !url.includes("SchemaBinary")) continue
          for (const { ranges } of functions) {
            for (const { count, endOffset, startOffset } of ranges) {
              if (count > 0) covered.add(`${url} ${startOffset} ${endOffset} ${bucketOf(count)}`)
            }
          }
        }
        return covered.size > before
      }
      const corpora = all.map(({ seeds }) => [...seeds])
      const pristine = Reflect.ownKeys(Object.prototype).length
      let inputs = 0
      let slowest = 0
      const change = (corpus: ReadonlyArray<Uint8Array>): Uint8Array => {
        let bytes = HostileFrames.mutate(corpus, random, random(1000))
        for (let more = random(3); more > 0 && bytes.length > 1; more--) {
          bytes = HostileFrames.mutate([bytes, corpus[random(corpus.length)]!], random, 1 + random(1000))
        }
        return bytes.length > 65_536 ? bytes.subarray(0, 65_536) : bytes
      }
      const timeOf = ({ name, run }: Target, bytes: Uint8Array): number => {
        const start = performance.now()
        try {
          run(bytes)
        } catch (error) {
          throw new Error(`${name} threw for ${Buffer.from(bytes).toString("hex")}`, { cause: error })
        }
        return performance.now() - start
      }
      const tryOne = (target: Target, bytes: Uint8Array): void => {
        let millis = timeOf(target, bytes)
        // What took long because the machine did something else takes less another time.
        for (let again = 0; millis > 50 && again < 5; again++) millis = Math.min(millis, timeOf(target, bytes))
        slowest = Math.max(slowest, millis)
        inputs++
      }
      const until = performance.now() + seconds * 1000
      let early = 0
      for (let round = 0; performance.now() < until; round++) {
        const target = all[round % all.length]!
        const corpus = corpora[round % all.length]!
        const batch = Array.from({ length: batchSize }, () => change(corpus))
        for (const bytes of batch) tryOne(target, bytes)
        if (yield* Effect.promise(look)) {
          // Which of them it was is not known: a tenth is kept, and what matters comes back.
          const kept = batch.filter((_, n) => n % 10 === round % 10)
          corpus.push(...kept.map((bytes) => bytes.slice()))
          if (corpus.length > corpusLimit) corpus.splice(target.seeds.length, corpus.length - corpusLimit)
        }
        if (early === 0 && performance.now() > until - seconds * 500) early = process.memoryUsage.rss()
        // Streams that were closed are gone with the turn.
        yield* Effect.promise(() => new Promise<void>((resolve) => void setImmediate(resolve)))
      }
      const grownMiB = (process.memoryUsage.rss() - early) / 1024 ** 2
      process.stdout.write(
        `${inputs} inputs, ${covered.size} pieces of code, corpora of ${
          corpora.map(({ length }) => length).join(", ")
        };` +
          ` slowest ${slowest.toFixed(0)} ms; RSS grew by ${grownMiB.toFixed(0)} MiB in the second half\n`
      )
      expect(Reflect.ownKeys(Object.prototype).length).toBe(pristine)
      expect(slowest).toBeLessThan(1000)
      expect(grownMiB).toBeLessThan(64)
    }).pipe(Effect.scoped),
  (seconds + 120) * 1000
)
