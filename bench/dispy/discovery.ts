/** 100 nodes that answer on loopback, each at an address of its own: how long a client takes to find all. */
import { Effect, Stream } from "effect"
import * as Beacons from "../../test/support/Beacons.ts"
import type { Metrics } from "../support/Drive.ts"

const count = 100

/** Milliseconds from the start of the client to the last of them. */
export const measure = (): Promise<Metrics> =>
  Effect.runPromise(
    Effect.gen(function*() {
      const [nodePort = 0, clientPort = 0] = yield* Beacons.freePorts(2)
      const hosts = Array.from({ length: count }, (_, i) => `127.0.2.${i + 1}`)
      const key = new Uint8Array(32).fill(7)
      yield* Effect.forEach(hosts, (host) => Beacons.aBeacon({ host, port: nodePort }, { key, clientPort }))
      const startedAt = performance.now()
      const client = yield* Beacons.aClient({ nodePort, clientPort, key })
      yield* client.found([Beacons.pattern("*")]).pipe(
        Stream.filter(({ host }) => host !== "127.0.0.1"),
        Stream.take(count),
        Stream.runDrain
      )
      return { millis: performance.now() - startedAt }
    }).pipe(Effect.scoped)
  )
