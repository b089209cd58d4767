/** Nodes without enough files, processes or memory: row E2 of `docs/reliability.md`, a few times each. */
import { describe, expect, it } from "vitest"
import * as Chaos from "../../support/chaos/Chaos.ts"
import * as scarcity from "../../support/chaos/scarcity.ts"

const chaos = Chaos.forTests()

/** Why a test is left out, for its title. */
const why = (missing: string | undefined): string => missing === undefined ? "" : ` (left out: ${missing})`

describe("a node goes on", () => {
  it("when strangers take all files that it may open (E2, EMFILE)", async () => {
    expect(await scarcity.files(chaos, 2)).toContain("EMFILE")
  })

  const [pids, memory] = [scarcity.missing("pids"), scarcity.missing("memory")]

  it.skipIf(pids !== undefined)(`when no process can be started (E2, EAGAIN)${why(pids)}`, async () => {
    expect(await scarcity.processes(chaos, 2)).toContain("EAGAIN")
  })

  it.skipIf(memory !== undefined)(`when a job takes all memory there is (E2, ENOMEM)${why(memory)}`, async () => {
    expect(await scarcity.memory(chaos, 2)).toContain("ENOMEM")
  })
})
