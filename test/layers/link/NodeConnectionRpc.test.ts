/** What becomes of calls whose connection breaks at the moment at which they are made. */
import { describe, expect, it } from "@effect/vitest"
import { Effect, Stream } from "effect"
import { Socket } from "effect/socket"
import type { NodeInfo } from "../../../src/domain/NodeInfo.ts"
import * as NodeConnectionRpc from "../../../src/layers/link/NodeConnectionRpc.ts"

/** What Effect's client makes of a write that fails: a defect. */
const broken = Effect.die(
  new Socket.SocketError({
    reason: new Socket.SocketWriteError({ cause: Object.assign(new Error("write EPIPE"), { code: "EPIPE" }) })
  })
)

const rpc = { Pulse: () => broken, Events: () => Stream.fromEffect(broken), ReleaseLease: () => Effect.die("a bug") }

const connection = NodeConnectionRpc.make("10.0.0.7", "10.0.0.7", {} as NodeInfo, rpc as never)

describe("a connection that is reset while a message is written", () => {
  it.effect("fails the call as one that is made a moment later", () =>
    Effect.gen(function*() {
      const unreachable = { _tag: "NodeUnreachable", address: "10.0.0.7", reason: "the connection was reset" }
      expect(yield* Effect.flip(connection.pulse("lease"))).toMatchObject(unreachable)
      expect(yield* Effect.flip(Stream.runDrain(connection.events("lease", 0)))).toMatchObject(unreachable)
    }))

  it.effect("leaves bugs as they are", () =>
    Effect.gen(function*() {
      const exit = yield* Effect.exit(connection.release("lease"))
      expect(exit).toMatchObject({ _tag: "Failure", cause: { reasons: [{ _tag: "Die", defect: "a bug" }] } })
    }))
})
