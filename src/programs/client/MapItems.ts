/**
 * `map`: one call per item, sent in chunks that adapt to how long items take, in
 * a window that bounds what is held in memory.
 *
 * ```
 * inputs ──take(size)──▶ feeder ──submit──▶ nodes ──outcome──▶ results ──▶ consumer
 *                          ▲                                      │
 *                          └────── waits while the window is full ┘
 * ```
 */
import { Cause, Effect, Exit, Latch, type Pull, Result, type Scope } from "effect"
import type { NonEmptyReadonlyArray } from "effect/Array"
import type { JobError } from "../../domain/JobError.ts"
import { JobFlags } from "../../domain/wire/Entries.ts"
import type { ClusterCore, Submission, SubmitError } from "./ClusterCore.ts"
import { type ClusterJob, onOutcome } from "./ClusterJob.ts"
import * as Outcomes from "./Outcomes.ts"

/** How `map` works. */
export interface MapOptions {
  /** Results in the order of the inputs (default), or as they are done. */
  readonly ordered?: boolean | undefined
  /**
   * Items per message. Default: adapts to how long items take. With a job timeout the default is 1; with `retries` it is
   * always 1, so that an item is tried again alone.
   */
  readonly chunkSize?: number | undefined
  /** Items taken from the inputs whose results were not yet taken by the consumer, at most. Default 65,536. */
  readonly window?: number | undefined
}

/** A chunk aims at this much work; long enough to hide the cost of a message, short enough to spread evenly. */
const chunkMicros = 5000

/** Items in a chunk, however short they are. */
const chunkLimit = 16_384

/** Bytes of arguments in a chunk before it stops growing. */
const chunkBytes = 1024 * 1024

/** Items held unless the user says otherwise. */
const defaultWindow = 65_536

/** Chunks per job that can run at a time that are sent or wait to be taken. */
const chunksPerSlot = 4

/** The next size after a chunk of `items` took `micros` and `bytes`: towards `chunkMicros`, at most fourfold. */
export const nextChunkSize = (current: number, items: number, micros: number, bytes: number): number => {
  const byTime = Math.floor((chunkMicros * items) / Math.max(micros, 1))
  const bySize = Math.floor((chunkBytes * items) / Math.max(bytes, 1))
  return Math.max(1, Math.min(byTime, bySize, current * 4, chunkLimit))
}

/** Items to map, taken in groups. */
export interface Source<I, E> {
  /** The next items: at least one, at most `limit`, no more once they take `bytes` or so; none at the end. */
  readonly take: (limit: number, bytes: number) => Effect.Effect<ReadonlyArray<I>, E>
}

/** The values of one chunk, or the error of its first item that failed. */
type ChunkResult<A> = Exit.Exit<ReadonlyArray<A>, JobError>

/** Items of one message and what became of them. */
interface Chunk<I, A> {
  /** Let go when the result is there. */
  items: ReadonlyArray<I>
  /** Number of its first item among all inputs. */
  readonly first: number
  /** Number of its items. */
  count: number
  result: ChunkResult<A> | undefined
}

const makeChunk = <I, A>(items: ReadonlyArray<I>, first: number): Chunk<I, A> => ({
  items,
  first,
  count: items.length,
  result: undefined
})

const resultOf = <A>(core: ClusterCore, job: ClusterJob): ChunkResult<A> => {
  const { error, value } = job.outcome!
  if (error !== undefined) return Exit.fail(error)
  if ((job.flags & JobFlags.chunk) === 0) return Exit.succeed([value as A])
  const [values, failures] = value as [Array<A>, Array<[number, Uint8Array]>]
  const failed = failures[0]
  if (failed === undefined) return Exit.succeed(values)
  return Exit.fail(
    Outcomes.failure(`item ${(job.id as number) + failed[0]}`, core.addressOf(job), failed[1], job.classes)
  )
}

/**
 * The results of the computation for every item, in groups as they come. Leaving
 * the scope cancels what is still running.
 */
export const make = Effect.fnUntraced(function*<I, A, E>(
  core: ClusterCore,
  { depends, memoryKiB, terms, timeoutMillis }: Pick<Submission, "timeoutMillis" | "memoryKiB" | "terms" | "depends">,
  source: Source<I, E>,
  options: MapOptions
): Effect.fn.Return<Pull.Pull<NonEmptyReadonlyArray<A>, E | JobError | SubmitError>, never, Scope.Scope> {
  const isOrdered = options.ordered ?? true
  const window = options.window ?? defaultWindow
  /** Each item is a job like those that users submit. */
  const isSingle = core.isProgram || terms?.retry !== undefined
  const isFixed = options.chunkSize !== undefined || timeoutMillis > 0 || memoryKiB > 0 || isSingle
  let size = isSingle ? 1 : Math.min(options.chunkSize ?? 1, window)
  /** Items taken so far; names them in errors. */
  let taken = 0
  /** Items taken whose results the consumer has not done with. */
  let held = 0
  /** Of these, the items whose results the consumer has in hand; it is done with them when it asks for more. */
  let handed = 0
  let ended: Exit.Exit<void, E | SubmitError> | undefined
  const room = Latch.makeUnsafe(true)
  const ready = Latch.makeUnsafe(false)
  /** Chunks in the order in which their results are wanted; unordered ones enter when they are done. */
  const chunks: Array<Chunk<I, A>> = []
  /** Chunks that are to be sent again. */
  const unsent: Array<Chunk<I, A>> = []
  let isDrained = false
  const running = new Set<ClusterJob>()

  const hasRoom = (): boolean => {
    const inHand = isOrdered ? chunks.length : running.size + chunks.length
    return held === 0 || (held < window && inHand < Math.max(2, core.cpus() * core.concurrency) * chunksPerSlot)
  }

  const send = (chunk: Chunk<I, A>): Result.Result<void, SubmitError> => {
    const { items } = chunk
    const submitted = core.submit(isSingle ? [items[0]] : items, {
      flags: isSingle ? 0 : JobFlags.chunk,
      timeoutMillis,
      memoryKiB,
      terms,
      id: chunk.first,
      signal: undefined,
      depends,
      isItem: true
    })
    if (Result.isFailure(submitted)) {
      if (submitted.failure._tag !== "ArgumentTooLarge" || items.length === 1) return Result.fail(submitted.failure)
      const rest = splitAt(chunk, items.length >> 1)
      return Result.flatMap(send(chunk), () => send(rest))
    }
    const job = submitted.success
    const bytes = job.args.length
    running.add(job)
    onOutcome(job, () => {
      running.delete(job)
      chunk.result = resultOf<A>(core, job)
      const { endTime, startTime } = job.outcome!
      const done = Exit.isSuccess(chunk.result) ? chunk.result.value.length : items.length
      if (!isFixed) size = nextChunkSize(size, done, (endTime - startTime) * 1000, bytes)
      // Its results got large and it ended early: what it did not come to goes out again when there is room.
      if (done < items.length) unsent.push(splitAt(chunk, done))
      chunk.items = []
      if (!isOrdered) chunks.push(chunk)
      ready.openUnsafe()
      room.openUnsafe()
    })
    return Result.void
  }

  /** Leaves the chunk its first items; the others become a chunk of their own behind it. */
  const splitAt = (chunk: Chunk<I, A>, index: number): Chunk<I, A> => {
    const rest = makeChunk<I, A>(chunk.items.slice(index), chunk.first + index)
    chunk.items = chunk.items.slice(0, index)
    chunk.count = index
    if (isOrdered) chunks.splice(chunks.indexOf(chunk) + 1, 0, rest)
    return rest
  }

  /** The next chunk to send; undefined at the end of the inputs, when nothing can be left to send again. */
  const nextChunk = Effect.gen(function*() {
    while (true) {
      const again = unsent.find((chunk) => hasRoom() || chunk === chunks[0] || running.size === 0)
      if (again !== undefined) {
        unsent.splice(unsent.indexOf(again), 1)
        return again
      }
      if (!isDrained && unsent.length === 0 && hasRoom()) {
        const items = yield* source.take(Math.min(size, window - held), chunkBytes)
        if (items.length > 0) {
          const chunk = makeChunk<I, A>(items, taken)
          taken += items.length
          held += items.length
          if (isOrdered) chunks.push(chunk)
          return chunk
        }
        isDrained = true
      }
      if (isDrained && unsent.length === 0 && running.size === 0) return undefined
      room.closeUnsafe()
      yield* room.await
    }
  })

  const feed: Effect.Effect<void, E | SubmitError> = Effect.gen(function*() {
    for (let chunk = yield* nextChunk; chunk !== undefined; chunk = yield* nextChunk) {
      yield* Effect.fromResult(send(chunk))
    }
  })

  yield* Effect.addFinalizer(() =>
    Effect.sync(() => {
      for (const job of running) core.cancel(job, "its map was left")
    })
  )
  yield* feed.pipe(
    Effect.onExit((exit) =>
      Effect.sync(() => {
        ended = exit
        ready.openUnsafe()
      })
    ),
    Effect.forkScoped
  )

  const pull: Pull.Pull<NonEmptyReadonlyArray<A>, E | JobError | SubmitError> = Effect.suspend(() => {
    held -= handed
    handed = 0
    room.openUnsafe()
    const first = chunks[0]
    if (first?.result !== undefined) {
      chunks.shift()
      handed = first.count
      if (Exit.isFailure(first.result)) return Exit.failCause(first.result.cause)
      return isNonEmpty(first.result.value) ? Effect.succeed(first.result.value) : pull
    }
    if (ended !== undefined && Exit.isFailure(ended)) return Exit.failCause(ended.cause)
    if (ended !== undefined && running.size === 0 && chunks.length === 0) return Cause.done()
    ready.closeUnsafe()
    return Effect.andThen(ready.await, pull)
  })
  return pull
})

const isNonEmpty = <A>(values: ReadonlyArray<A>): values is NonEmptyReadonlyArray<A> => values.length > 0
