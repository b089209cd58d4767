/** When a client pings, and what of it is found where datagrams get lost: a simulation of client, network and nodes. */
import * as fc from "fast-check"
import { describe, expect, it } from "vitest"
import * as PingSchedule from "../../../src/domain/discovery/PingSchedule.ts"
import * as Rounds from "../../../src/domain/discovery/Rounds.ts"

/** A network, its losses as shares of the datagrams. */
interface Network {
  readonly nodes: number
  readonly pingLoss: number
  readonly answerLoss: number
  /** From a ping to its answer. Default 2 ms. */
  readonly millis?: number
  /** When the nodes start. Default: before the client. */
  readonly from?: number
}

/** What happened. */
interface Run {
  /** Times of the pings, in milliseconds. */
  readonly pings: ReadonlyArray<number>
  /** Answers that the nodes sent. */
  readonly answers: number
  /** Times at which the nodes were found. */
  readonly found: ReadonlyArray<number>
}

/** Numbers from 0 to 1 that are the same for the same seed (Mulberry32). */
const randomOf = (seed: number): () => number => {
  let state = seed
  return () => {
    state = (state + 0x6d2b79f5) | 0
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state)
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32
  }
}

const simulate = (
  { answerLoss, from = 0, millis = 2, nodes, pingLoss }: Network,
  seed: number,
  pingInterval: number | undefined,
  until: number
): Run => {
  const random = randomOf(seed)
  const rounds = Rounds.make()
  const pings: Array<number> = []
  const found = new Map<number, number>()
  /** Answers under way, in the order in which they arrive. */
  let coming: Array<{ readonly at: number; readonly node: number; readonly round: Rounds.Round }> = []
  let [now, gapMillis, wanted, answers] = [0, 0, 1, 0]
  while (now <= until) {
    for (const { at, node, round } of coming.filter((one) => one.at <= now)) {
      Rounds.hear(rounds, round, String(node))
      if (!found.has(node)) found.set(node, at)
    }
    coming = coming.filter((one) => one.at > now)
    pings.push(now)
    const round = Rounds.begin(rounds, now)
    for (let node = 0; node < nodes; node++) {
      if (now < from || random() < pingLoss) continue
      answers += wanted
      for (let i = 0; i < wanted; i++) {
        if (random() >= answerLoss) coming.push({ at: now + millis + 30 * i, node, round })
      }
    }
    const isLossy = Rounds.isLossy(rounds, now)
    const next = PingSchedule.next(
      { elapsedMillis: now, gapMillis, isLossy, nodes: rounds.answered.size },
      pingInterval
    )
    if (next === undefined) break
    now += next.afterMillis
    ;({ answers: wanted, gapMillis } = next)
  }
  for (const { at, node } of coming) if (!found.has(node)) found.set(node, at)
  return { pings, answers, found: [...found.values()] }
}

/** The share of so many runs in which every node was found within ten seconds. */
const shareFound = (network: Network, runs: number): number => {
  let complete = 0
  for (let seed = 1; seed <= runs; seed++) {
    const { found } = simulate(network, seed, undefined, 10_000)
    if (found.length === network.nodes && found.every((at) => at <= 10_000)) complete++
  }
  return complete / runs
}

describe("pings", () => {
  it("come 0, 0.2, 0.7, 1.7, 3.7, 7.7 and 15.7 seconds after the start where nodes answer, and then no more", () => {
    for (const nodes of [1, 30, 100]) {
      const { answers, pings } = simulate({ nodes, pingLoss: 0, answerLoss: 0 }, 1, undefined, Infinity)
      expect(pings).toEqual([0, 200, 700, 1700, 3700, 7700, 15_700])
      // One each: nobody is asked to say it again.
      expect(answers).toBe(7 * nodes)
    }
  })

  it("are few as well where answers take a second", () => {
    const { pings } = simulate({ nodes: 100, pingLoss: 0, answerLoss: 0, millis: 1000 }, 1, undefined, Infinity)
    expect(pings.length).toBeLessThan(60)
  })

  it("come 25 times a second while nothing answers, from the second second to the tenth", () => {
    const { pings } = simulate({ nodes: 0, pingLoss: 0, answerLoss: 0 }, 1, undefined, Infinity)
    expect(pings.filter((at) => at < 1000)).toHaveLength(5)
    expect(pings.filter((at) => at >= 1000 && at < 10_000)).toHaveLength(225)
    expect(pings.filter((at) => at >= 10_000)).toEqual([10_000, 10_500, 11_500, 13_500, 17_500, 25_500])
  })

  it("go on at the ping interval, and are never further apart than it from the first on", () => {
    fc.assert(fc.property(fc.integer({ min: 200, max: 100_000 }), fc.nat({ max: 20_000 }), (interval, from) => {
      const { pings } = simulate({ nodes: 1, pingLoss: 0, answerLoss: 0, from }, 1, interval, 400_000)
      pings.slice(1).forEach((at, i) => expect(at - pings[i]!).toBeLessThanOrEqual(Math.max(interval, 8000)))
      expect(pings.at(-1)! - pings.at(-2)!).toBe(interval)
    }))
  })

  it.each([
    [1, 0.9, 0.9, 0.995],
    [4, 0.9, 0.9, 0.98],
    [8, 0.9, 0.9, 0.96],
    [1, 0.9, 0, 0.999],
    [1, 0, 0.9, 0.999],
    [20, 0.5, 0.5, 0.999],
    [100, 0.3, 0.3, 0.999],
    [100, 0.1, 0.1, 0.99]
  ])("find %d nodes in ten seconds, %d of the pings and %d of the answers lost: share %d at least", (...row) => {
    const [nodes, pingLoss, answerLoss, share] = row
    expect(shareFound({ nodes, pingLoss, answerLoss }, 1000)).toBeGreaterThanOrEqual(share)
  })

  it("ask all nodes together for 600 answers a second at most once they have answered, whatever gets lost", () => {
    fc.assert(
      fc.property(fc.nat(), fc.nat({ max: 300 }), fc.nat({ max: 99 }), (seed, nodes, percent) => {
        const loss = percent / 100
        const { found, pings } = simulate({ nodes, pingLoss: loss, answerLoss: loss }, seed, undefined, 20_000)
        expect(pings.length).toBeLessThanOrEqual(5 + 225 + 6)
        const known = (at: number) => found.filter((one) => one <= at).length
        pings.slice(1).forEach((at, i) => {
          expect(at - pings[i]!).toBeGreaterThanOrEqual(Math.min(500, 5 * known(pings[i]! - 1)))
        })
      }),
      { numRuns: 30 }
    )
  })
})
