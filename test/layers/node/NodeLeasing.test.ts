/** How long a client keeps a node: as long as it is there. */
import { describe, expect, it } from "@effect/vitest"
import { Effect, Layer } from "effect"
import { TestClock } from "effect/testing"
import * as HostStatsFixed from "../../../src/layers/host/HostStatsFixed.ts"
import * as NodeServer from "../../../src/layers/node/NodeServer.ts"
import * as NodeClients from "../../support/NodeClients.ts"
import * as NodeSettings from "../../support/NodeSettings.ts"
import * as ScriptedExecutor from "../../support/ScriptedExecutor.ts"

describe("a client that is there", () => {
  it.effect("keeps the node beyond the zombie interval, though another one wants it, and gets what its job replies", () =>
    Effect.gen(function*() {
      const { layer, script } = ScriptedExecutor.make()
      const settings = NodeSettings.layer({ name: "n1", incarnation: "i1", zombieInterval: "1 minute" })
      const context = yield* Layer.build(
        NodeServer.layer.pipe(Layer.provide([layer, HostStatsFixed.layer(), settings]))
      )
      const clients = yield* NodeClients.make.pipe(Effect.provideContext(context))
      const { rpc } = yield* clients.connect
      const other = (yield* clients.connect).rpc
      const { leaseId, pulseMillis } = yield* rpc.AcquireLease({
        clientId: "alice",
        clientName: "alice@desk",
        sessionId: "1",
        recoverKey: "key"
      })
      yield* rpc.OpenComputation({ leaseId, computation: NodeClients.aComputation("c") })
      const events = yield* NodeClients.listen(rpc.Events({ leaseId, received: 0 }))
      const batch = NodeClients.someJobs(1)
      yield* rpc.Dispatch({ leaseId, computationId: "c", sequence: 1, batch, acknowledged: 0 })
      for (let millis = 0; millis < 10 * 60_000; millis += pulseMillis) {
        yield* TestClock.adjust(pulseMillis)
        yield* rpc.Pulse({ leaseId })
        const bob = { clientId: "bob", clientName: "bob@desk", sessionId: "1" }
        expect(yield* Effect.flip(other.AcquireLease(bob))).toMatchObject({ _tag: "NodeBusy", holder: "alice@desk" })
      }
      const computation = script.computations.get("c")!
      expect(computation.isClosed).toBe(false)
      computation.finish(1)
      const replies = yield* events.next.pipe(Effect.repeat({ until: (event) => event._tag === "Replies" }))
      expect(replies).toMatchObject({ _tag: "Replies", computationId: "c", sequence: 1 })
    }))
})
