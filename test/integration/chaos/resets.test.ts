/** Connections that are reset all the time: row C4 of `docs/reliability.md`, for some seconds. */
import { expect, it } from "vitest"
import * as Chaos from "../../support/chaos/Chaos.ts"
import * as resets from "../../support/chaos/resets.ts"

const chaos = Chaos.forTests()

it("every job runs once and has one outcome while random connections are reset (C4)", async () => {
  expect(await resets.storm(chaos, { jobs: 600, millis: 5, every: { jobs: 30 } })).toContain("C4")
})
