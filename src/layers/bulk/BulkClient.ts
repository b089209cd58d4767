/**
 * A client's side of bulk connections to one node under one lease: a few lanes,
 * opened when they are needed, so that a value does not wait behind a large file.
 * A transfer whose lane breaks goes on where it was, over a new connection.
 *
 * ```
 * lane 0    contents of up to `smallBytes`, sent one right behind the other
 * lane 1, 2 larger ones
 * ```
 */
import { Result, Schema } from "effect"
import * as fs from "node:fs/promises"
import { setTimeout as sleep } from "node:timers/promises"
import { messageOf } from "../../domain/Thrown.ts"
import * as Attempts from "../../domain/transfer/Attempts.ts"
import * as BulkFrames from "../../domain/transfer/BulkFrames.ts"
import type { GetRequest, PutRequest } from "../../services/FileTransfer.ts"
import * as BulkPeer from "./BulkPeer.ts"
import * as Content from "./Content.ts"
import type * as Sink from "./Sink.ts"

const laneCount = 3

/** Contents up to here share a lane. */
const smallBytes = 4 * 1024 * 1024

/** Files up to here are read before it is their turn. */
const readAheadBytes = 256 * 1024

/** An idle connection is closed after this time, before the node does it. */
const idleMillis = 10_000

/** A connection on which something is awaited and nothing comes for so long is taken as broken. */
const stallMillis = 60_000

/** The transfer will not succeed another time either. */
export class Refused extends Error {
  override readonly name = "Refused"
  readonly limitBytes: number | undefined

  constructor(reason: string, limitBytes?: number) {
    super(reason)
    this.limitBytes = limitBytes
  }
}

/** The connection broke; another may do better. */
class Broken extends Error {
  override readonly name = "Broken"
}

/** A transfer that is under way on a lane. */
interface Waiting {
  readonly settle: (outcome: Result.Result<Uint8Array, Error>) => void
  readonly onOffset: ((offset: number) => void) | undefined
  readonly sending: Content.Sending | undefined
  /** Makes the place for what comes, once its size is known; throws what is wrong with it. */
  readonly onHead: ((sizeBytes: number) => Sink.Sink) | undefined
}

interface Receiving {
  readonly id: number
  readonly sink: Sink.Sink
  readonly waiting: Waiting
  readonly sizeBytes: number
}

interface Lane {
  peer: BulkPeer.BulkPeer | undefined
  connecting: Promise<BulkPeer.BulkPeer> | undefined
  readonly waiting: Map<number, Waiting>
  /** What data that comes belongs to. */
  receiving: Receiving | "unwanted" | undefined
  /** Ends when what is to be sent before is sent. */
  turn: Promise<void>
  /** Bytes of the transfers that are under way. */
  load: number
  timer: NodeJS.Timeout | undefined
  heardAt: number
}

/** The transfers between this process and a node. */
export interface BulkClient {
  readonly leaseId: string
  readonly dial: () => Promise<BulkPeer.Wire>
  readonly window: BulkPeer.SharedWindow
  readonly lanes: ReadonlyArray<Lane>
  lastId: number
  isClosed: boolean
}

/** Nothing is connected yet. */
export const make = (leaseId: string, dial: () => Promise<BulkPeer.Wire>): BulkClient => ({
  leaseId,
  dial,
  window: BulkPeer.makeWindow(),
  lanes: Array.from({ length: laneCount }, (): Lane => ({
    peer: undefined,
    connecting: undefined,
    waiting: new Map(),
    receiving: undefined,
    turn: Promise.resolve(),
    load: 0,
    timer: undefined,
    heardAt: 0
  })),
  lastId: 0,
  isClosed: false
})

/** Ends all connections; transfers that are under way fail. */
export const close = (client: BulkClient): void => {
  client.isClosed = true
  for (const { peer } of client.lanes) if (peer !== undefined) BulkPeer.close(peer, "the cluster was closed")
}

const decoder = <S extends Schema.Codec<unknown, unknown>>(schema: S) =>
  Schema.decodeUnknownSync(Schema.fromJsonString(schema))
const decodeOffset = decoder(BulkFrames.Offset)
const decodeDone = decoder(BulkFrames.Done)
const decodeFailed = decoder(BulkFrames.Failed)
const decodeHead = decoder(BulkFrames.Head)

const settle = (lane: Lane, id: number, outcome: Result.Result<Uint8Array, Error>): void => {
  const waiting = lane.waiting.get(id)
  if (waiting === undefined) return
  lane.waiting.delete(id)
  if (waiting.sending !== undefined) waiting.sending.isStopped = true
  waiting.settle(outcome)
}

const noBytes = new Uint8Array(0)

const takeHead = (lane: Lane, { id, sizeBytes }: typeof BulkFrames.Head.Type): boolean => {
  if (lane.receiving !== undefined) return false
  const waiting = lane.waiting.get(id)
  lane.receiving = "unwanted"
  if (waiting?.onHead === undefined) return true
  try {
    lane.receiving = { id, waiting, sizeBytes, sink: waiting.onHead(sizeBytes) }
  } catch (error) {
    refuse(lane, id)
    settle(lane, id, Result.fail(new Refused(messageOf(error))))
  }
  return true
}

/** Tells the node that content is not wanted. */
const refuse = (lane: Lane, id: number): void => {
  if (lane.peer !== undefined) {
    BulkPeer.sendJson(lane.peer, BulkFrames.Frame.failed, { id, reason: "it is not wanted" })
  }
}

const onEnd = async (lane: Lane, { id, sink, sizeBytes }: Receiving, told: Uint8Array): Promise<void> => {
  try {
    const { bytes, sha256 } = await sink.finish()
    if (sink.received !== sizeBytes || !sha256.equals(told)) {
      throw new Refused("what came is not what the node announced (SHA-256 differs); it was thrown away")
    }
    if (lane.peer !== undefined) BulkPeer.sendJson(lane.peer, BulkFrames.Frame.done, { id })
    settle(lane, id, Result.succeed(bytes))
  } catch (error) {
    refuse(lane, id)
    settle(lane, id, Result.fail(new Refused(messageOf(error))))
  }
}

const endOf = (lane: Lane, payload: Uint8Array, isWhole: boolean): boolean => {
  const { receiving } = lane
  lane.receiving = undefined
  if (receiving === undefined || (isWhole && payload.length !== 32)) return false
  if (receiving === "unwanted") return true
  if (isWhole) void onEnd(lane, receiving, Buffer.from(payload))
  else settle(lane, receiving.id, Result.fail(new Refused(Buffer.from(payload).toString())))
  return true
}

const onFrame = (lane: Lane, type: number, payload: Uint8Array): boolean => {
  const { Frame } = BulkFrames
  const text = (): string => Buffer.from(payload).toString()
  lane.heardAt = performance.now()
  try {
    switch (type) {
      case Frame.done: {
        settle(lane, decodeDone(text()).id, Result.succeed(noBytes))
        return true
      }
      case Frame.failed: {
        const { id, limitBytes, reason } = decodeFailed(text())
        settle(lane, id, Result.fail(new Refused(reason, limitBytes)))
        return true
      }
      case Frame.offset: {
        const { id, offset } = decodeOffset(text())
        lane.waiting.get(id)?.onOffset?.(offset)
        return true
      }
      case Frame.head:
        return takeHead(lane, decodeHead(text()))
      case Frame.end:
        return endOf(lane, payload, true)
      case Frame.abort:
        return endOf(lane, payload, false)
      case Frame.refused: {
        const refused = new Refused(text())
        for (const id of lane.waiting.keys()) settle(lane, id, Result.fail(refused))
        return false
      }
      default:
        return false
    }
  } catch {
    return false
  }
}

const onData = (lane: Lane, bytes: Uint8Array): boolean => {
  const { receiving } = lane
  lane.heardAt = performance.now()
  if (receiving === undefined) return false
  if (receiving === "unwanted") return true
  if (receiving.sink.received + bytes.length <= receiving.sizeBytes) {
    receiving.sink.write(bytes)
    return true
  }
  lane.receiving = "unwanted"
  settle(lane, receiving.id, Result.fail(new Refused("the node sent more than it announced")))
  return true
}

const onClose = (lane: Lane, reason: string): void => {
  clearInterval(lane.timer)
  lane.peer = undefined
  lane.receiving = undefined
  for (const id of lane.waiting.keys()) settle(lane, id, Result.fail(new Broken(reason)))
}

const watch = (lane: Lane, peer: BulkPeer.BulkPeer): void => {
  const quiet = performance.now() - lane.heardAt
  if (lane.waiting.size === 0 && quiet >= idleMillis) BulkPeer.close(peer, "it was idle")
  else if (quiet >= stallMillis) BulkPeer.close(peer, `nothing came for ${stallMillis / 1000} s`)
}

const connect = async (client: BulkClient, lane: Lane): Promise<BulkPeer.BulkPeer> => {
  if (client.isClosed) throw new Refused("the cluster was closed")
  if (lane.peer !== undefined) return lane.peer
  lane.connecting ??= open(client, lane).finally(() => {
    lane.connecting = undefined
  })
  return await lane.connecting
}

const open = async (client: BulkClient, lane: Lane): Promise<BulkPeer.BulkPeer> => {
  let wire: BulkPeer.Wire
  try {
    wire = await client.dial()
  } catch (error) {
    throw new Broken(messageOf(error))
  }
  if (client.isClosed) {
    wire.stream.destroy()
    throw new Refused("the cluster was closed")
  }
  wire.stream.write(BulkFrames.greeting(client.leaseId))
  const peer = BulkPeer.make(wire, client.window, () => ({
    onFrame: (type, payload) => onFrame(lane, type, payload),
    onData: (bytes) => onData(lane, bytes),
    onClose: (reason) => {
      if (lane.peer === peer || lane.peer === undefined) onClose(lane, reason)
    }
  }))
  lane.peer = peer
  lane.heardAt = performance.now()
  lane.timer = setInterval(() => watch(lane, peer), idleMillis / 4).unref()
  return peer
}

const laneFor = (client: BulkClient, sizeBytes: number): Lane => {
  if (sizeBytes <= smallBytes) return client.lanes[0]!
  return client.lanes.slice(1).reduce((best, lane) => lane.load < best.load ? lane : best)
}

/** Registers a transfer on a lane; `begin` sends what starts it. Settles with its outcome, or as `Broken`. */
const under = async (
  lane: Lane,
  id: number,
  signal: AbortSignal,
  describe: (waiting: Pick<Waiting, "settle">) => Waiting,
  begin: (waiting: Waiting) => void
): Promise<Uint8Array> => {
  const { promise, resolve } = Promise.withResolvers<Result.Result<Uint8Array, Error>>()
  const waiting = describe({ settle: resolve })
  const abort = (): void => settle(lane, id, Result.fail(new Refused("it was cancelled")))
  lane.waiting.set(id, waiting)
  signal.addEventListener("abort", abort, { once: true })
  if (signal.aborted) abort()
  else begin(waiting)
  const outcome = await promise
  signal.removeEventListener("abort", abort)
  if (Result.isFailure(outcome)) throw outcome.failure
  return outcome.success
}

/** Does it again, after a while, as long as it is the connection that fails. */
const persist = async <A>(
  signal: AbortSignal,
  reached: () => number,
  run: (isAgain: boolean) => Promise<A>
): Promise<A> => {
  let attempts = Attempts.none
  for (let isAgain = false;; isAgain = true) {
    try {
      return await run(isAgain)
    } catch (error) {
      if (!(error instanceof Broken) || signal.aborted) throw error
      const next = Attempts.broken(attempts, reached())
      if (next.pauseMillis === undefined) throw new Refused(`the connection broke again and again: ${error.message}`)
      attempts = next.attempts
      await sleep(next.pauseMillis, undefined, { signal }).catch(() => {})
    }
  }
}

/** Reads a small file before it is its turn, so that the others behind it need not wait for the disk. */
const preread = async (content: PutRequest["content"]): Promise<PutRequest["content"]> => {
  if (content._tag === "Bytes" || content.sizeBytes > readAheadBytes) return content
  const bytes = await fs.readFile(content.path)
  if (bytes.length !== content.sizeBytes) {
    throw new Refused(`${content.path} has changed: it had ${content.sizeBytes} bytes`)
  }
  return { _tag: "Bytes", bytes }
}

const reasonOf = (error: unknown): Error =>
  error instanceof Content.ContentError ? new Refused(error.message) : error as Error

/** Sends content; rejects with `Refused`. */
export const put = async (client: BulkClient, request: PutRequest, signal: AbortSignal): Promise<void> => {
  const content = await preread(request.content).catch((error) => {
    throw new Refused(messageOf(error))
  })
  const { computationId, target } = request
  const id = ++client.lastId
  const sizeBytes = Content.sizeOf(content)
  const lane = laneFor(client, sizeBytes)
  let reached = 0
  const tryOnce = async (isAgain: boolean): Promise<void> => {
    const peer = await connect(client, lane)
    const isResumed = isAgain && sizeBytes > smallBytes
    const sending: Content.Sending = {
      isStopped: false,
      onProgress: (sent) => {
        reached = sent
        request.onProgress?.(sent)
      }
    }
    let onOffset: ((offset: number) => void) | undefined
    const offset = isResumed ? new Promise<number>((resolve) => (onOffset = resolve)) : undefined
    const send = async (waiting: Waiting): Promise<void> => {
      if (sending.isStopped || peer.closed !== undefined) return
      BulkPeer.sendJson(peer, BulkFrames.Frame.put, { id, computationId, target, sizeBytes, isResumed })
      const settled = new Promise<number>((resolve) => (onStop = () => resolve(0)))
      const from = offset === undefined ? 0 : await Promise.race([offset, settled])
      await Content.send(peer, content, from, sending).catch((error) => {
        lane.waiting.delete(id)
        waiting.settle(Result.fail(reasonOf(error)))
      })
    }
    let onStop = (): void => {}
    await under(lane, id, signal, ({ settle: done }) => ({
      settle: (outcome) => {
        onStop()
        done(outcome)
      },
      onOffset,
      sending,
      onHead: undefined
    }), (waiting) => {
      lane.turn = lane.turn.then(() => send(waiting))
    })
  }
  lane.load += sizeBytes
  try {
    await persist(signal, () => reached, tryOnce)
  } finally {
    lane.load -= sizeBytes
  }
}

/** Holds up the connection that the lane has at the time. */
const flowOf = (lane: Lane): Sink.Flow => {
  let held: BulkPeer.BulkPeer | undefined
  return {
    pause: () => {
      held = lane.peer
      if (held !== undefined) BulkPeer.pause(held)
    },
    resume: () => {
      if (held !== undefined) BulkPeer.resume(held)
      held = undefined
    }
  }
}

/** Fetches content into what `makeSink` makes for its size; rejects with `Refused`. */
export const get = async (
  client: BulkClient,
  request: GetRequest,
  makeSink: (sizeBytes: number, flow: Sink.Flow) => Sink.Sink,
  signal: AbortSignal
): Promise<Uint8Array> => {
  const { computationId, source } = request
  const id = ++client.lastId
  const lane = laneFor(client, request.sizeBytes)
  let sink: Sink.Sink | undefined
  const tryOnce = async (): Promise<Uint8Array> => {
    const peer = await connect(client, lane)
    const onHead = (sizeBytes: number): Sink.Sink => {
      // Room is made, and limits hold, for what was announced before.
      if (sizeBytes !== request.sizeBytes) {
        throw new Error(`it has ${sizeBytes} bytes now, and not the ${request.sizeBytes} that were announced`)
      }
      sink ??= makeSink(sizeBytes, flowOf(lane))
      return sink
    }
    return await under(
      lane,
      id,
      signal,
      (waiting) => ({ ...waiting, onOffset: undefined, sending: undefined, onHead }),
      () => {
        BulkPeer.sendJson(peer, BulkFrames.Frame.get, { id, computationId, source, offset: sink?.received ?? 0 })
      }
    )
  }
  lane.load += request.sizeBytes
  try {
    return await persist(signal, () => sink?.received ?? 0, tryOnce)
  } catch (error) {
    if (signal.aborted) refuse(lane, id)
    if (lane.receiving !== undefined && lane.receiving !== "unwanted" && lane.receiving.id === id) {
      lane.receiving = "unwanted"
    }
    await sink?.discard()
    throw error
  } finally {
    lane.load -= request.sizeBytes
  }
}
