/**
 * Rows C1, C2, C3, C5 and C9 in full: on two cores C1 takes about two and a half hours, nearly all of which is waiting
 * (50 cycles each of 1, 5, 30 and 120 s), C2 half an hour, C3 an hour, C5 20 minutes, C9 three minutes.
 */
import { afterAll, it, vi } from "vitest"
import * as networks from "../../support/chaos/networks.ts"
import * as Scale from "../../support/chaos/Scale.ts"
import { untilIdle } from "../../support/Leftovers.ts"
import * as Networks from "../../support/Networks.ts"

vi.setConfig({ testTimeout: 4 * 3_600_000 })

afterAll(untilIdle)

Networks.suite("every job has one outcome, and none runs twice without need", ["iptables"], (lan) => {
  it.each([1, 5, 30, 120])("C1: a node is cut off for %i s, 50 times", async (seconds) => {
    const cycles = Scale.of(50)
    const scale = { jobs: cycles * 200, millis: 20, seconds, cycles, pulseMillis: 2000, direction: "both" } as const
    console.log(await networks.partitions(lan(), scale))
  })

  it.each(["in", "out"] as const)("C2: packets of a node get lost %s one way only, 50 times", async (direction) => {
    const cycles = Scale.of(50)
    const scale = { jobs: cycles * 200, millis: 20, seconds: 15, cycles, pulseMillis: 2000, direction } as const
    console.log(await networks.partitions(lan(), scale))
  })

  it("C3: a node is killed and no packet tells it, 100 times", async () => {
    console.log(await networks.halfOpen(lan(), { cycles: Scale.of(100), pulseMillis: 2500 }))
  })

  it.each(
    [1, 5, 20].flatMap((loss) => [[50, 10], [200, 50], [500, 100]].map(([delay, jitter]) => [loss, delay!, jitter!]))
  )(
    "C5: %i %% of packets get lost and all take %i ± %i ms",
    async (lossPercent, delayMillis, jitterMillis) => {
      const scale = { jobs: Scale.of(10_000, 500), lossPercent, delayMillis, jitterMillis, pulseMillis: 10_000 }
      console.log(await networks.badLine(lan(), scale))
    }
  )

  it("C9: the client gets another address, 20 times", async () => {
    const cycles = Scale.of(20)
    console.log(await networks.movedClient(lan(), { jobs: cycles * 200, millis: 20, cycles, pulseMillis: 2000 }))
  })
})
