import { describe, expect, it } from "@effect/vitest"
import { Effect, Stream } from "effect"
import * as DiscoveryStatic from "../../../src/layers/discovery/DiscoveryStatic.ts"
import { Discovery } from "../../../src/services/Discovery.ts"

describe("discovery without a network", () => {
  it.effect("finds this machine's dispynode for patterns, once per port, and nothing for hosts", () =>
    Effect.gen(function*() {
      const discovery = yield* Discovery
      const found = yield* Stream.runCollect(discovery.found([
        { _tag: "Pattern", text: "*", port: undefined },
        { _tag: "Pattern", text: "10.*", port: 51348 },
        { _tag: "Pattern", text: "render-*", port: 51400 },
        { _tag: "Tcp", host: "alpha", port: 51500 }
      ]))
      expect(found.map(({ host, port }) => `${host}:${port}`)).toEqual(["127.0.0.1:51348", "127.0.0.1:51400"])
    }).pipe(Effect.provide(DiscoveryStatic.layer({ nodePort: 51348 }))))
})
