/**
 * Test suites that need networks of their own: `suite` gives each test a set of them, which ends with the test.
 * Where there can be none the suite is skipped, and its title says why.
 */
import { afterEach, describe } from "vitest"
import * as Topology from "./networks/Topology.ts"

/** A suite whose tests get a fresh set of networks whenever they call the argument; `tools` are what they need. */
export const suite = (
  title: string,
  tools: ReadonlyArray<Topology.Tool>,
  tests: (networks: () => Topology.Networks) => void
): void => {
  const missing = Topology.missing(...tools)
  describe.skipIf(missing !== undefined)(`${title}${missing === undefined ? "" : ` (left out: ${missing})`}`, () => {
    const made: Array<Topology.Networks> = []
    afterEach(async () => {
      await Promise.all(made.splice(0).map((networks) => networks.close()))
    })
    tests(() => {
      const networks = Topology.make()
      made.push(networks)
      return networks
    })
  })
}
