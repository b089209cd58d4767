/**
 * `npm run bench`: measures dispy on this machine against what the machine can do without it, and prints a table.
 *
 *   node bench/main.ts [--only NAME ...] [--quick] [--json FILE] [--compare FILE] [--profile DIR]
 *
 * Needs the built package (`npm run build`), since it runs what users run.
 */
import { parseArgs } from "node:util"
import * as Comparison from "./report/Comparison.ts"
import { compute, type Figure, type Round } from "./report/Figure.ts"
import * as Report from "./report/Report.ts"
import * as Table from "./report/Table.ts"
import { type Suite, suites } from "./suites.ts"
import * as Profile from "./support/Profile.ts"
import * as StepProcess from "./support/StepProcess.ts"

const { values: flags } = parseArgs({
  options: {
    only: { type: "string", multiple: true },
    quick: { type: "boolean", default: false },
    json: { type: "string" },
    compare: { type: "string" },
    profile: { type: "string" }
  }
})

const names = flags.only?.flatMap((name) => name.split(","))
const unknown = names?.find((name) => suites.every((suite) => suite.name !== name))
if (unknown !== undefined) {
  process.stderr.write(`bench: there is no ${unknown}; there are ${suites.map((suite) => suite.name).join(", ")}\n`)
  process.exit(2)
}

const isQuick = flags.quick
const limitMillis = isQuick ? 20_000 : 60_000
const deadline = performance.now() + (isQuick ? 90_000 : 360_000)

for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"] as const) {
  process.on(signal, () => {
    StepProcess.killAll()
    process.exit(130)
  })
}

/** All rounds of a suite; ends early when the time is up. */
const runSuite = async (suite: Suite): Promise<Array<Round>> => {
  const count = isQuick || flags.profile !== undefined ? 1 : suite.rounds
  const rounds: Array<Round> = []
  for (let i = 1; i <= count; i++) {
    const round: Round = {}
    for (const step of suite.steps) {
      const left = deadline - performance.now()
      if (left < 1000) {
        if (rounds.length > 0) return rounds
        throw new Error("out of time")
      }
      process.stderr.write(`${suite.name} ${i}/${count} ${step}\n`)
      round[step] = await StepProcess.run(step, {
        isQuick,
        limitMillis: Math.min(left, limitMillis),
        profile: flags.profile
      })
    }
    rounds.push(round)
  }
  return rounds
}

const earlier = flags.compare === undefined ? undefined : await Report.read(flags.compare)
const machine = Report.machine()
const startedAt = performance.now()
const figures: Array<Figure> = []
const failures: Record<string, string> = {}
const allRounds: Record<string, ReadonlyArray<Round>> = {}
for (const suite of suites) {
  if (names !== undefined && !names.includes(suite.name)) continue
  try {
    const rounds = await runSuite(suite)
    allRounds[suite.name] = rounds
    figures.push(...suite.figures.map((figure) => compute(figure, rounds)))
  } catch (error) {
    failures[suite.name] = (error as Error).message
    process.stderr.write(`${suite.name} failed: ${(error as Error).message}\n`)
  }
}

const seconds = Math.round((performance.now() - startedAt) / 1000)
const report: Report.Report = { isQuick, machine, seconds, figures, failures, rounds: allRounds }
const stamp = new Date().toISOString().replaceAll(/[:.]/g, "-")
const path = flags.json ?? `bench/results/${stamp}.json`
await Report.write(path, report)
process.stdout.write(`${Table.formatFigures(figures)}\n\n`)
process.stdout.write(
  `${machine.cpus} cpus (${machine.cpuModel}), ${machine.memoryGiB} GiB, ${machine.platform}, Node ${machine.node}, ` +
    `load before ${machine.loadBefore.toFixed(2)}, ${seconds} s${isQuick ? ", quick" : ""}; ${path}\n`
)
for (const [name, reason] of Object.entries(failures)) {
  process.stdout.write(`${name} failed: ${reason.split("\n")[0]}\n`)
}
if (earlier !== undefined) process.stdout.write(`\n${Comparison.format(earlier, report)}\n`)
if (flags.profile !== undefined) process.stdout.write(`\n${await Profile.summarize(flags.profile)}\n`)
process.exitCode = Object.keys(failures).length > 0 ? 1 : 0
