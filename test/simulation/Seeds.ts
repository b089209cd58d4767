/** Runs many seeds, counts what happened in them, and says how a seed that failed is run again. */
import type { Flaws } from "./Fleet.ts"
import * as Simulation from "./Simulation.ts"

/** What happened over many runs. A value changed in place. */
export interface Summary {
  seeds: number
  steps: number
  /** Virtual time. */
  hours: number
  readonly counts: Map<string, number>
}

/** Nothing was run. */
export const summary = (): Summary => ({ seeds: 0, steps: 0, hours: 0, counts: new Map() })

/** Lines of the trace that are shown of a seed that failed. */
const shownLines = 80

/** What to say of a seed that failed. */
export const explain = ({ hash, seed, trace, violation }: Simulation.Report, command: string): string =>
  [
    `seed ${seed}: ${violation}`,
    `the last steps (virtual milliseconds, trace ${hash.toString(16)}):`,
    ...trace.slice(-shownLines),
    `run it again with: SEED=${seed} ${command}`
  ].join("\n")

/** Runs seeds from one on; what the first that fails says, or undefined. */
export const run = (total: Summary, from: number, count: number, command: string): string | undefined => {
  for (let seed = from; seed < from + count; seed++) {
    const report = Simulation.run(seed)
    total.seeds++
    total.steps += report.steps
    total.hours += report.millis / 3_600_000
    for (const [what, times] of report.counts) total.counts.set(what, (total.counts.get(what) ?? 0) + times)
    if (report.violation !== undefined) return explain(report, command)
  }
  return undefined
}

/** Runs so many seeds until one notices what is wrong: which, and what it said; undefined when none does. */
export const notice = (
  flaws: Flaws,
  most: number,
  from = 1
): { readonly seed: number; readonly violation: string } | undefined => {
  for (let seed = from; seed < from + most; seed++) {
    const { violation } = Simulation.run(seed, flaws)
    if (violation !== undefined) return { seed, violation }
  }
  return undefined
}

const byName = (counts: ReadonlyMap<string, number>): Array<[string, number]> =>
  [...counts].toSorted(([one], [other]) => one < other ? -1 : 1)

const group = (counts: ReadonlyMap<string, number>, prefix: string): string =>
  byName(counts).filter(([what]) => what.startsWith(prefix)).map(([what, times]) =>
    `${what.slice(prefix.length)} ${times}`
  ).join(", ")

/** All of it in a few lines. */
export const describe = ({ counts, hours, seeds, steps }: Summary): string => {
  const rest = byName(counts).filter(([what]) => !/^(fault|outcome|recovered) /.test(what))
  const count = (number: number): string => number.toLocaleString("en-GB")
  return [
    `simulation: ${count(seeds)} seeds, ${count(steps)} steps, ${hours.toFixed(1)} h of virtual time`,
    `  faults: ${group(counts, "fault ")}`,
    `  outcomes: ${group(counts, "outcome ")}; recovered: ${group(counts, "recovered ")}`,
    `  besides: ${rest.map(([what, times]) => `${what} ${times}`).join(", ")}`
  ].join("\n")
}

/** The seed that is asked for; undefined for all of them. */
export const asked = (): number | undefined => {
  const seed = process.env["SEED"]
  return seed === undefined || seed === "" ? undefined : Number(seed)
}
