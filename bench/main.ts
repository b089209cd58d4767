/**
 * `npm run bench`: measures dispy on this machine against what the machine can do without it, and prints a table.
 *
 *   node bench/main.ts [--only NAME ...] [--quick] [--json FILE] [--compare FILE] [--profile DIR]
 *
 * Needs the built package (`npm run build`), since it runs what users run.
 */
import { parseArgs } from "node:util"
import * as Comparison from "./report/Comparison.ts"
import { compute, type Round } from "./report/Figure.ts"
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
const limitMillis = isQuick ? 30_000 : 60_000
const deadline = performance.now() + (isQuick ? 90_000 : 360_000)

for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"] as const) {
  process.on(signal, () => {
    StepProcess.killAll()
    process.exit(130)
  })
}

/** Every step of a suite once. */
const runRound = async (suite: Suite, title: string): Promise<Round> => {
  const round: Round = {}
  for (const step of suite.steps) {
    const left = deadline - performance.now()
    if (left < 1000) throw new Error("out of time")
    process.stderr.write(`${title} ${step}\n`)
    round[step] = await StepProcess.run(step, {
      isQuick,
      limitMillis: Math.min(left, limitMillis),
      profile: flags.profile
    })
  }
  return round
}

/** A suite with what came of it so far. */
interface Progress {
  readonly suite: Suite
  readonly rounds: Array<Round>
  /** How long a round takes. */
  millis: number
  failure: string
}

/** Whether a suite gets another round: one in any case, more while there is time. */
const isWanted = ({ failure, millis, rounds, suite }: Progress): boolean =>
  failure === "" && rounds.length < (isQuick || flags.profile !== undefined ? 1 : suite.rounds) &&
  (rounds.length === 0 || performance.now() + millis < deadline)

const runNext = async (progress: Progress): Promise<void> => {
  const { rounds, suite } = progress
  const start = performance.now()
  try {
    rounds.push(await runRound(suite, `${suite.name} ${rounds.length + 1}`))
  } catch (error) {
    const reason = (error as Error).message
    process.stderr.write(`${suite.name} failed: ${reason}\n`)
    if (rounds.length === 0 || reason !== "out of time") progress.failure = reason
  }
  progress.millis = performance.now() - start
}

const earlier = flags.compare === undefined ? undefined : await Report.read(flags.compare)
const machine = Report.machine()
const startedAt = performance.now()
const isPossible = ({ missing, name }: Suite): boolean => {
  const reason = missing?.()
  if (reason !== undefined) process.stderr.write(`${name} is left out: ${reason}\n`)
  return reason === undefined
}
const chosen = suites.filter((suite) => names === undefined || names.includes(suite.name)).filter(isPossible)
const all = chosen.map((suite): Progress => ({
  suite,
  rounds: [],
  millis: 0,
  failure: ""
}))
// Round by round over all suites: a noisy minute then spoils one round of several figures and no figure altogether.
for (let wanted = all; wanted.length > 0; wanted = all.filter(isWanted)) {
  for (const progress of wanted) if (isWanted(progress)) await runNext(progress)
}

const seconds = Math.round((performance.now() - startedAt) / 1000)
const figures = all.flatMap(({ failure, rounds, suite }) =>
  failure === "" ? suite.figures.map((figure) => compute(figure, rounds)) : []
)
const failures = Object.fromEntries(all.flatMap(({ failure, suite }) => failure === "" ? [] : [[suite.name, failure]]))
const rounds = Object.fromEntries(all.map((progress) => [progress.suite.name, progress.rounds]))
const report: Report.Report = { isQuick, machine, seconds, figures, failures, rounds }
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
if (earlier !== undefined) {
  if (earlier.isQuick !== isQuick) process.stdout.write("\nOne of these runs was quick, with other numbers of jobs:\n")
  process.stdout.write(`\n${Comparison.format(earlier, report)}\n`)
}
if (flags.profile !== undefined) process.stdout.write(`\n${await Profile.summarize(flags.profile)}\n`)
process.exitCode = Object.keys(failures).length > 0 ? 1 : 0
