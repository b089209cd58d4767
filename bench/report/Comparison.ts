/** What changed since an earlier run. */
import type { Figure } from "./Figure.ts"
import type { Report } from "./Report.ts"
import * as Table from "./Table.ts"

const change = (before: number | undefined, after: number | undefined): string => {
  if (before === undefined || after === undefined) return ""
  const percent = (after / before - 1) * 100
  return Number.isFinite(percent) ? `${percent >= 0 ? "+" : ""}${percent.toFixed(0)} %` : ""
}

/** Changes below this share are not called better or worse: two runs of the same code differ by as much. */
const noise = 0.08

const verdict = (before: Figure, after: Figure): string => {
  // On a machine that is busier or faster than before, the ratio is the fairer witness.
  const hasRatio = before.ratio !== undefined && after.ratio !== undefined
  const factor = hasRatio ? after.ratio / before.ratio : after.median / before.median
  if (!(Math.abs(factor - 1) > noise)) return ""
  return factor > 1 === after.unit.endsWith("/s") ? "better" : "worse"
}

/** A table of the figures that both runs have. */
export const format = (before: Report, after: Report): string => {
  const rows = after.figures.flatMap((figure) => {
    const earlier = before.figures.find((one) => one.title === figure.title)
    if (earlier === undefined) return []
    return [[
      figure.title,
      `${Table.formatNumber(earlier.median)} -> ${Table.formatNumber(figure.median)} ${figure.unit}`,
      change(earlier.median, figure.median),
      earlier.ratio === undefined || figure.ratio === undefined
        ? ""
        : `${Table.formatNumber(earlier.ratio)}x -> ${Table.formatNumber(figure.ratio)}x`,
      change(earlier.ratio, figure.ratio),
      verdict(earlier, figure)
    ]]
  })
  return Table.format(["figure", "value", "change", "ratio", "change", ""], rows)
}
