/** Finds what needs no looking for: the `dispynode` of this machine, at the port where one listens by default. */
import { Effect, Layer, Stream } from "effect"
import { Discovery, type FoundNode } from "../../services/Discovery.ts"

/** Tells this machine's dispynode to entries that mean many nodes; `nodePort` is the port of entries without one. */
export const layer = (options: { readonly nodePort: number }): Layer.Layer<Discovery> =>
  Layer.succeed(
    Discovery,
    Discovery.of({
      found: (targets) => {
        const ports = new Set(targets.flatMap((one) => one._tag === "Pattern" ? one.port ?? options.nodePort : []))
        return Stream.fromIterable([...ports].map((port): FoundNode => ({ _tag: "Tcp", host: "127.0.0.1", port })))
      },
      means: Effect.succeed("this machine's dispynode")
    })
  )
