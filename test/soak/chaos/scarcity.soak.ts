/** Row E2 in full: 100 times each without files, processes and memory; about five minutes on two cores. */
import { describe, it } from "vitest"
import * as Chaos from "../../support/chaos/Chaos.ts"
import * as Scale from "../../support/chaos/Scale.ts"
import * as scarcity from "../../support/chaos/scarcity.ts"

const chaos = Chaos.forTests()

/** Why a test is left out, for its title. */
const why = (missing: string | undefined): string => missing === undefined ? "" : ` (left out: ${missing})`

describe("a node goes on", () => {
  it("E2: when strangers take all files that it may open, 100 times", async () => {
    console.log(await scarcity.files(chaos, Scale.of(100)))
  })

  const [pids, memory] = [scarcity.missing("pids"), scarcity.missing("memory")]

  it.skipIf(pids !== undefined)(`E2: when no process can be started, 100 times${why(pids)}`, async () => {
    console.log(await scarcity.processes(chaos, Scale.of(100)))
  })

  it.skipIf(memory !== undefined)(`E2: when a job takes all memory, 100 times${why(memory)}`, async () => {
    console.log(await scarcity.memory(chaos, Scale.of(100)))
  })
})
