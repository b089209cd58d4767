/** Row E1 in full: every write 20 times, on a full disk and on one that is read-only; about five minutes on two cores. */
import { describe, it } from "@effect/vitest"
import { Effect } from "effect"
import * as Chaos from "../../support/chaos/Chaos.ts"
import * as disks from "../../support/chaos/disks.ts"
import * as Scale from "../../support/chaos/Scale.ts"

const chaos = Chaos.forTests()

describe("a disk that fails has a typed error with its path, wherever something is written, and is used again", () => {
  it.live.each(["full", "read-only"] as const)("E1: when it is %s", (way) =>
    Effect.gen(function*() {
      const told = yield* disks.failing(chaos, way, Scale.of(20))
      const said = told === undefined ? "left out: only root can mount a file system" : JSON.stringify(told, null, 2)
      process.stdout.write(`E1 (${way}): ${said}\n`)
    }))
})
