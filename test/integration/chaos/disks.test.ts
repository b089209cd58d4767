/** Disks of nodes and clients that are full or read-only: row E1 of `docs/reliability.md`, each write once. */
import { describe, it } from "@effect/vitest"
import { Effect } from "effect"
import * as Chaos from "../../support/chaos/Chaos.ts"
import * as disks from "../../support/chaos/disks.ts"

const chaos = Chaos.forTests()

describe("a disk that fails has a typed error with its path, wherever something is written, and is used again", () => {
  it.live.each(["full", "read-only"] as const)("when it is %s (E1)", (way) =>
    Effect.gen(function*() {
      const told = yield* disks.failing(chaos, way, 1)
      if (told === undefined) yield* Effect.logWarning("left out: only root can mount a small file system")
    }))
})
