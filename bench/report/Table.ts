/** Figures as a table, aligned for a terminal, which is Markdown too. */
import type { Figure, Goal, Unit } from "./Figure.ts"

/** Three significant digits, thousands with commas. */
export const formatNumber = (value: number): string => {
  if (!Number.isFinite(value)) return "-"
  const magnitude = Math.abs(value)
  const digits = magnitude >= 100 ? 0 : magnitude >= 10 ? 1 : magnitude >= 1 ? 2 : 3
  return value.toLocaleString("en-US", { minimumFractionDigits: digits, maximumFractionDigits: digits })
}

const withUnit = (value: number, unit: Unit): string =>
  `${formatNumber(value)}${unit.startsWith("/") ? "" : " "}${unit}`

const formatGoal = (goal: Goal | undefined, unit: Unit): string => {
  if (goal === undefined) return ""
  const [of, relation, limit] = goal
  const sign = relation === ">=" ? "≥" : "≤"
  return of === "ratio"
    ? `${sign} ${limit}x`
    : `${sign} ${limit.toLocaleString("en-US")}${unit.startsWith("/") ? "" : " "}${unit}`
}

const formatMet = (isMet: boolean | undefined): string => isMet === undefined ? "" : isMet ? "yes" : "**no**"

/** Lines of a Markdown table, its columns aligned. */
export const format = (header: ReadonlyArray<string>, rows: ReadonlyArray<ReadonlyArray<string>>): string => {
  const widths = header.map((title, i) => Math.max(title.length, ...rows.map((row) => row[i]!.length)))
  const line = (cells: ReadonlyArray<string>): string =>
    `| ${cells.map((cell, i) => cell.padEnd(widths[i]!)).join(" | ")} |`
  return [line(header), line(widths.map((width) => "-".repeat(width))), ...rows.map(line)].join("\n")
}

/** The table of a run. */
export const formatFigures = (figures: ReadonlyArray<Figure>): string =>
  format(
    ["figure", "median", "range", "anchor", "ratio", "goal", "met", "next", "met"],
    figures.map((figure) => [
      figure.title,
      withUnit(figure.median, figure.unit),
      figure.lowest === figure.highest ? "" : `${formatNumber(figure.lowest)} to ${formatNumber(figure.highest)}`,
      figure.anchor === undefined ? "" : `${figure.anchor.title} ${withUnit(figure.anchorMedian!, figure.unit)}`,
      figure.ratio === undefined ? "" : `${formatNumber(figure.ratio)}x`,
      formatGoal(figure.goal, figure.unit),
      formatMet(figure.isMet),
      formatGoal(figure.aim, figure.unit),
      formatMet(figure.isAimMet)
    ])
  )
