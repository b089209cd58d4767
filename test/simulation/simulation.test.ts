/**
 * The scheduler core, the rules of leases, outboxes, slots and kept results, and recovery, in a simulated world where
 * everything goes wrong: 500 seeds. `SEED=17 npm run test:unit -- test/simulation` runs one of them alone.
 */
import { afterAll, describe, expect, it } from "@effect/vitest"
import type { Flaws } from "./Fleet.ts"
import * as Seeds from "./Seeds.ts"
import * as Simulation from "./Simulation.ts"

const command = "npm run test:unit -- test/simulation"
const [seeds, block] = [500, 50]
const asked = Seeds.asked()
const blocks = asked === undefined
  ? Array.from({ length: seeds / block }, (_, i) => ({ from: i * block + 1, count: block }))
  : [{ from: asked, count: 1 }]

/** Generous: other tests use the cores as well. */
const timeout = 180_000

/** Seeds within which something that is wrong on purpose must be noticed. */
const most = 400

/** What must have happened in some seed, so that the rules about it are not idle. */
const occurring = [
  "retry after JobCrashed",
  "retry after JobFailed",
  "retry after JobTimedOut",
  "retry after NodeLost",
  "retries used up",
  "runs again of reentrant jobs",
  "jobs that lost ten nodes",
  "poisoned by slots",
  "poisoned by slots and nodes",
  "benched nodes",
  "benches lifted",
  "timeout queue",
  "timeout total",
  "timeout total, of jobs that a node had"
]

describe("simulated clusters", () => {
  const total = Seeds.summary()

  it.for(blocks)("keep their promises whatever fails: $count seeds from $from on", { timeout }, ({ count, from }) => {
    const failure = Seeds.run(total, from, count, command)
    if (failure !== undefined) expect.fail(failure)
  })

  it.skipIf(asked !== undefined)("try, poison, bench and time out jobs in all ways there are, in these seeds", () => {
    const missing = occurring.filter((what) => !total.counts.has(what))
    expect([total.seeds, missing]).toEqual([seeds, []])
  })

  afterAll(() => console.log(Seeds.describe(total)))
})

describe.skipIf(asked !== undefined)("a simulation", () => {
  it("is the same run again from the same seed, and another one from another", { timeout }, () => {
    const hashes = new Set<number>()
    for (let seed = 1; seed <= 10; seed++) {
      const [first, second] = [Simulation.run(seed), Simulation.run(seed)]
      expect({ ...second, trace: second.trace.join("\n") }).toEqual({ ...first, trace: first.trace.join("\n") })
      hashes.add(first.hash)
    }
    expect(hashes.size).toBe(10)
  })

  it("tells of a seed that fails what happened, and how to run it again", { timeout }, () => {
    const flaws = { hasNoLeases: true }
    const { seed, violation } = Seeds.notice(flaws, most)!
    const report = Simulation.run(seed, flaws)
    const text = Seeds.explain(report, command)
    expect(report.violation).toBe(violation)
    expect(text).toContain(`seed ${seed}: ${violation}`)
    expect(text).toContain(`SEED=${seed} ${command}`)
    expect(text).toMatch(/\d\.\d{3} {2}node\d#\d is leased to client2/)
  })

  /** The seed to begin with, near one that noticed it, where those are rare. */
  const wrong: ReadonlyArray<readonly [string, Flaws, RegExp, from?: number]> = [
    ["a node that takes a dispatch twice", { takesTwice: true }, /runs twice/],
    ["a node that forgets replies which are not acknowledged", { forgetsSent: true }, /left out|not at rest/],
    ["a node that two clients have at a time", { hasNoLeases: true }, /is leased to client\d and client\d/],
    ["a node that keeps nothing of a client that is gone", { keepsNothing: true }, /nobody has recovered it/],
    ["a client that numbers a dispatch anew when it sends it again", { renumbers: true }, /runs twice/],
    ["a client that does not make calls again", { givesUpCalls: true }, /not at rest/],
    [
      "a client that hears replies twice",
      { forgetsReceived: true, takesBatchesTwice: true },
      /a reply came to the scheduler that was nobody's/
    ],
    [
      "a client that ignores attempts, and hears replies twice",
      { forgetsReceived: true, takesBatchesTwice: true, ignoresAttempts: true },
      /runs twice|runs more often|provisional result twice|nobody's/
    ],
    ["a client that does not notice that a node is lost", { ignoresLosses: true }, /is gone and still|not at rest/],
    ["a client that runs all jobs again", { isRash: true }, /runs twice and may not/],
    ["a client that does not wake its scheduler", { forgetsTime: true }, /not at rest|after its totalTimeout/],
    [
      "a client whose time runs too fast",
      { hurries: true },
      /before its time|before that is over|after its totalTimeout/
    ],
    ["a client that tries jobs again once too often", { insists: true }, /is tried again \d+ times, not/],
    [
      "a client that does not note that jobs were tried again",
      { forgetsRetries: true },
      /is recovered with attempt \d+, and node\d has attempt/,
      250
    ],
    ["a recovery that does not note what it has handed over", { forgetsHandedOver: true }, /is recovered twice/, 380]
  ]

  it.for(wrong)("notices %s", { timeout }, ([, flaws, says, from]) => {
    expect(Seeds.notice(flaws, most, from)?.violation).toMatch(says)
  })
})
