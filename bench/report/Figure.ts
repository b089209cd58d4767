/** A figure of the benchmark: what was measured, against what, and what was wanted. */
import type { StepName } from "../steps.ts"
import type { Metrics } from "../support/Drive.ts"
import { median } from "../support/Statistics.ts"

/** A metric of a step. */
export type MetricPath = `${StepName}.${string}`

/** What is wanted of the value, or of its ratio to the anchor. */
export type Goal = readonly [of: "value" | "ratio", relation: ">=" | "<=", limit: number]

/** Units; what ends in "/s" is better when it is more, everything else when it is less. */
export type Unit = "/s" | "MiB/s" | "ms" | "µs" | "bytes" | "MiB" | "pulses"

/** What to make of the metrics of a suite. */
export interface FigureSpec {
  readonly title: string
  readonly unit: Unit
  readonly value: MetricPath
  readonly anchor?: { readonly title: string; readonly value: MetricPath }
  /** What must be met. */
  readonly goal?: Goal
  /** What is aimed at next. */
  readonly aim?: Goal
}

/** A figure with its numbers: medians over the rounds; the ratio is the median of the ratios within a round. */
export interface Figure extends FigureSpec {
  readonly median: number
  readonly lowest: number
  readonly highest: number
  readonly anchorMedian: number | undefined
  readonly ratio: number | undefined
  readonly isMet: boolean | undefined
  readonly isAimMet: boolean | undefined
}

/** The metrics of every step of a round. */
export type Round = Partial<Record<StepName, Metrics>>

const valuesOf = (rounds: ReadonlyArray<Round>, path: MetricPath): Array<number> => {
  const [step, metric] = path.split(".") as [StepName, string]
  return rounds.map((round) => round[step]?.[metric] ?? Number.NaN)
}

const isMet = (goal: Goal | undefined, value: number, ratio: number | undefined): boolean | undefined => {
  if (goal === undefined) return undefined
  const [of, relation, limit] = goal
  const actual = of === "value" ? value : ratio ?? Number.NaN
  return relation === ">=" ? actual >= limit : actual <= limit
}

/** Computes the figure from all rounds. */
export const compute = (spec: FigureSpec, rounds: ReadonlyArray<Round>): Figure => {
  const values = valuesOf(rounds, spec.value)
  const anchors = spec.anchor === undefined ? undefined : valuesOf(rounds, spec.anchor.value)
  const value = median(values)
  const ratio = anchors === undefined ? undefined : median(values.map((one, i) => one / anchors[i]!))
  return {
    ...spec,
    median: value,
    lowest: Math.min(...values),
    highest: Math.max(...values),
    anchorMedian: anchors === undefined ? undefined : median(anchors),
    ratio,
    isMet: isMet(spec.goal, value, ratio),
    isAimMet: isMet(spec.aim, value, ratio)
  }
}
