/** Bytes that no client should send: random ones, and valid messages truncated or with bits flipped. From a seed. */
import { Effect, Schema } from "effect"
import { RpcSerialization } from "effect/rpc"
import { createHash } from "node:crypto"
import { once } from "node:events"
import * as net from "node:net"
import * as Datagram from "../../src/domain/discovery/Datagram.ts"
import { protocolVersion } from "../../src/domain/NodeInfo.ts"
import { NodeRpcs } from "../../src/domain/NodeRpcs.ts"
import * as BulkFrames from "../../src/domain/transfer/BulkFrames.ts"
import * as TlsClient from "../../src/layers/security/TlsClient.ts"
import { aComputation, someJobs } from "./NodeClients.ts"

/** A small generator of random numbers, the same for the same seed. */
export const makeRandom = (seed: number) => {
  let state = seed >>> 0
  return (below: number): number => {
    state = Math.imul(state ^ (state >>> 15), 0x2C1B3C6D) + 0x9E3779B9 >>> 0
    const mixed = Math.imul(state ^ (state >>> 13), 0x297A2D39) >>> 0
    return ((mixed ^ (mixed >>> 16)) >>> 0) % below
  }
}

/** A client's messages under a lease as bytes, one of each request; those that end lease and node are the last. */
export const framesWith = Effect.fnUntraced(function*(leaseId: string) {
  const serialization = yield* RpcSerialization.RpcSerialization
  const parser = serialization.makeUnsafe()
  const payloads: Record<string, unknown> = {
    Hello: { protocol: protocolVersion, version: "0.1.0" },
    AcquireLease: { clientId: "hostile", clientName: "nobody@nowhere", sessionId: "1" },
    ResumeLease: { leaseId, clientId: "another" },
    Pulse: { leaseId },
    Events: { leaseId, received: 0 },
    OpenComputation: { leaseId, computation: aComputation("c") },
    OfferFiles: { leaseId, computationId: "c", computationName: "c", files: [] },
    AnswerJobFile: { leaseId, computationId: "c", fileId: 1, problem: "" },
    SetCpus: { leaseId, computationId: "c", cpus: 2 },
    NodeJobs: { leaseId, computationId: "c" },
    Dispatch: { leaseId, computationId: "c", sequence: 1, batch: someJobs(1, 2, 3), acknowledged: 0 },
    CancelJobs: { leaseId, computationId: "c", jobIds: [1, 2, 3] },
    CloseComputation: { leaseId, computationId: "c" },
    ShutDown: { leaseId },
    Recover: { recoverKey: leaseId, terminatePending: false },
    Forget: { recoverKey: leaseId },
    ReleaseLease: { leaseId }
  }
  return [...NodeRpcs.requests.values()].map((rpc, index) =>
    parser.encode({
      _tag: "Request",
      id: index,
      tag: rpc._tag,
      payload: Schema.encodeUnknownSync(serialization.codecFor(rpc.payloadSchema as Schema.Codec<unknown>))(
        payloads[rpc._tag]
      ),
      headers: []
    }) as Uint8Array
  )
}, Effect.provide(RpcSerialization.layerSchemaBinary()))

/** The same with a lease that there is not. */
export const validFrames: Effect.Effect<ReadonlyArray<Uint8Array>> = framesWith("00000000-0000-4000-8000-000000000000")

/** What a node answers to a Hello, to whom wants its lease, and to both at once. */
export const framesOfNode = Effect.fnUntraced(function*(port: number) {
  const [hello, acquire] = yield* validFrames
  return yield* Effect.promise(async () => {
    const socket = net.connect({ host: "127.0.0.1", port, noDelay: true })
    const answerTo = async (bytes: Uint8Array): Promise<Uint8Array> => {
      socket.write(bytes)
      const [answer] = await once(socket, "data")
      return answer as Uint8Array
    }
    const frames = [await answerTo(hello!), await answerTo(acquire!)]
    socket.destroy()
    return [...frames, Buffer.concat(frames)]
  })
})

const bulkFrame = (type: number, payload: Uint8Array | object): Uint8Array => {
  const bytes = payload instanceof Uint8Array ? payload : Buffer.from(JSON.stringify(payload))
  const head = Buffer.alloc(BulkFrames.headerBytes)
  head[0] = type
  head.writeUInt32LE(bytes.length, 1)
  return Buffer.concat([head, bytes])
}

const hashOf = (text: string): Uint8Array => createHash("sha256").update(text).digest()

const { Frame } = BulkFrames

/** What a client sends on a bulk connection. */
export const bulkFrames: ReadonlyArray<Uint8Array> = [
  bulkFrame(Frame.put, {
    id: 1,
    computationId: "c",
    target: { _tag: "File", path: "x", mode: 420, modifiedMillis: 0 },
    sizeBytes: 4,
    isResumed: false
  }),
  bulkFrame(Frame.data, Buffer.from("good")),
  bulkFrame(Frame.end, hashOf("good")),
  bulkFrame(Frame.abort, new Uint8Array(0)),
  bulkFrame(Frame.get, { id: 2, computationId: "c", source: { _tag: "Result", jobId: 1, attempt: 1 }, offset: 0 }),
  bulkFrame(Frame.acknowledge, new Uint8Array(8)),
  bulkFrame(Frame.done, { id: 2 })
]

/** What a node sends on a bulk connection to a client that fetches "good"; or more than it announced. */
export const bulkAnswers = (id: number, isHonest: boolean): ReadonlyArray<Uint8Array> => [
  bulkFrame(Frame.head, { id, sizeBytes: isHonest ? 4 : 2 ** 40 }),
  bulkFrame(Frame.data, Buffer.from("good")),
  bulkFrame(Frame.end, hashOf("good"))
]

/** One of each datagram. */
export const datagrams = (mac: Datagram.Mac | undefined): ReadonlyArray<Uint8Array> => {
  const nonce = "0123456789abcdef".repeat(2)
  const node = { name: "alpha", port: 1, incarnation: "i", addresses: ["10.0.0.1"], version: "0.1.0" }
  const messages: ReadonlyArray<Datagram.Message> = [
    { _tag: "Ping", answerAt: [{ host: "127.0.0.1", port: 9 }] },
    { _tag: "Answer", inReplyTo: nonce, node },
    { _tag: "Announcement", node },
    { _tag: "Goodbye", incarnation: "i" },
    { _tag: "RelayedPing", inReplyTo: nonce, answerAt: [] },
    { _tag: "RelayedNode", inReplyTo: nonce, host: "10.0.0.2", node },
    { _tag: "Unheeded" }
  ]
  return messages.map((message) => Datagram.encode(message, { nonce, sentAtMillis: 1e12 }, mac))
}

/** Gives a datagram the signature that its other bytes have. */
export const signAgain = (bytes: Uint8Array, mac: Datagram.Mac): Uint8Array => {
  const signed = bytes.slice()
  signed.set(mac(Buffer.concat([bytes.subarray(0, 7), bytes.subarray(39)])), 7)
  return signed
}

/** What a client with a secret sends first. */
export const clientHello = (): Promise<Uint8Array> =>
  new Promise((resolve) => {
    const server = net.createServer((socket) => {
      socket.on("error", () => {}).once("data", (bytes) => {
        socket.destroy()
        server.close()
        resolve(bytes)
      })
    })
    server.listen(0, "127.0.0.1", () => {
      const { port } = server.address() as net.AddressInfo
      const secret = { _tag: "Secret", tlsKey: new Uint8Array(32), datagramKey: new Uint8Array(32) } as const
      TlsClient.dial(secret, { host: "127.0.0.1", port }).socket.on("error", () => {})
    })
  })

/** The `n`th of many hostile messages: random, cut off, with other bits, doubled, or put together of two. */
export const mutate = (valid: ReadonlyArray<Uint8Array>, random: (below: number) => number, n: number): Uint8Array => {
  const frame = valid[random(valid.length)]!.slice()
  const other = valid[random(valid.length)]!
  switch (n % 6) {
    case 0:
      return Uint8Array.from({ length: 1 + random(300) }, () => random(256))
    case 1:
      return frame.subarray(0, 1 + random(frame.length - 1))
    case 2:
      return Buffer.concat([frame.subarray(0, random(frame.length)), other.subarray(random(other.length))])
    case 3: {
      const at = random(frame.length)
      return Buffer.concat([frame.subarray(0, at), Uint8Array.of(255, 255, 255, 255, random(256)), frame.subarray(at)])
    }
    default:
      for (let flips = 1 + random(4); flips > 0; flips--) frame[random(frame.length)]! ^= 1 << random(8)
      return frame
  }
}

/** The `n`th of many hostile messages; every third begins with a proper Hello. */
export const hostileBytes = (valid: ReadonlyArray<Uint8Array>, random: (below: number) => number, n: number) => {
  const bytes = mutate(valid, random, n)
  return n % 3 === 0 ? new Uint8Array(Buffer.concat([valid[0]!, bytes])) : bytes
}

/** Sends bytes on a connection of their own, and resolves with the milliseconds until the other side closed it. */
export const sendAndAwaitClose = (port: number, bytes: Uint8Array, host = "127.0.0.1"): Promise<number> =>
  new Promise((resolve) => {
    const socket = net.connect({ host, port, noDelay: true })
    const start = performance.now()
    socket.on("connect", () => socket.write(bytes))
    socket.on("error", () => {})
    socket.on("close", () => resolve(performance.now() - start))
    socket.resume()
  })

/** Sends bytes on a connection of their own, hangs up, and resolves when both sides have. */
export const sendAndHangUp = (port: number, bytes: Uint8Array): Promise<void> =>
  new Promise((resolve) => {
    const socket = net.connect({ host: "127.0.0.1", port, noDelay: true })
    socket.on("connect", () => socket.end(bytes))
    socket.on("error", () => {})
    socket.on("close", () => resolve())
    socket.resume()
  })

/** Does `run` for 0 … count - 1, `width` at a time. */
export const inParallel = async (count: number, width: number, run: (n: number) => Promise<unknown>): Promise<void> => {
  let next = 0
  const lane = async (): Promise<void> => {
    for (let n = next++; n < count; n = next++) await run(n)
  }
  await Promise.all(Array.from({ length: width }, lane))
}
