/** Bytes that no client should send: random ones, and valid messages truncated or with bits flipped. From a seed. */
import { Effect, Schema } from "effect"
import { RpcSerialization } from "effect/rpc"
import * as net from "node:net"
import { protocolVersion } from "../../src/domain/NodeInfo.ts"
import { NodeRpcs } from "../../src/domain/NodeRpcs.ts"
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

/** A client's messages as bytes, one of each request. */
export const validFrames: Effect.Effect<ReadonlyArray<Uint8Array>> = Effect.gen(function*() {
  const serialization = yield* RpcSerialization.RpcSerialization
  const parser = serialization.makeUnsafe()
  const leaseId = "00000000-0000-4000-8000-000000000000"
  const payloads: Record<string, unknown> = {
    Hello: { protocol: protocolVersion, version: "0.1.0" },
    AcquireLease: { clientId: "hostile", clientName: "nobody@nowhere", sessionId: "1" },
    ResumeLease: { leaseId },
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
}).pipe(Effect.provide(RpcSerialization.layerSchemaBinary()))

/** The `n`th of many hostile messages; every third begins with a proper Hello. */
export const hostileBytes = (valid: ReadonlyArray<Uint8Array>, random: (below: number) => number, n: number) => {
  const frame = valid[random(valid.length)]!.slice()
  const mutate = (): Uint8Array => {
    switch (n % 4) {
      case 0:
        return Uint8Array.from({ length: 1 + random(300) }, () => random(256))
      case 1:
        return frame.subarray(0, 1 + random(frame.length - 1))
      default:
        for (let flips = 1 + random(4); flips > 0; flips--) frame[random(frame.length)]! ^= 1 << random(8)
        return frame
    }
  }
  const bytes = mutate()
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
