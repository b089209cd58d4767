/** Finds the machines of a test for the patterns of a node list, also those that are started later. */
import { Effect, Layer, Queue, Stream } from "effect"
import * as NodeAddress from "../../domain/NodeAddress.ts"
import { Discovery, type FoundNode } from "../../services/Discovery.ts"
import type { Machine } from "./Machine.ts"
import { localName, type Machines } from "./Machines.ts"

const foundAt = ({ name }: Machine): FoundNode => ({ _tag: "Tcp", host: name, port: NodeAddress.defaultNodePort })

/** Finds these machines. */
export const layer = (machines: Machines): Layer.Layer<Discovery> =>
  Layer.succeed(
    Discovery,
    Discovery.of({
      found: (targets) =>
        targets.some(({ _tag }) => _tag === "Pattern")
          ? Stream.unwrap(Effect.gen(function*() {
            const queue = yield* Queue.unbounded<FoundNode>()
            const tell = (machine: Machine): void => {
              if (machine.name !== localName) Queue.offerUnsafe(queue, foundAt(machine))
            }
            for (const machine of machines.all.values()) tell(machine)
            yield* Effect.acquireRelease(
              Effect.sync(() => machines.listeners.add(tell)),
              () => Effect.sync(() => machines.listeners.delete(tell))
            )
            return Stream.fromQueue(queue)
          }))
          : Stream.empty,
      means: Effect.succeed("the nodes of this test")
    })
  )
