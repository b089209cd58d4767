/** "Did you mean …?": the known name nearest to one that is not known. */

/** The candidate with the fewest typing mistakes between it and `name`; undefined when none is near. */
export const nearest = (name: string, candidates: ReadonlyArray<string>): string | undefined => {
  let found: string | undefined
  let least = Math.max(1, Math.floor(name.length / 3)) + 1
  for (const candidate of candidates) {
    const mistakes = distance(name.toLowerCase(), candidate.toLowerCase())
    if (mistakes >= least) continue
    least = mistakes
    found = candidate
  }
  return found
}

/** Insertions, deletions, replacements and swaps of neighbours that turn one text into the other. */
const distance = (a: string, b: string): number => {
  let before: Array<number> = []
  let last = Array.from({ length: b.length + 1 }, (_, j) => j)
  for (let i = 1; i <= a.length; i++) {
    const row = [i]
    for (let j = 1; j <= b.length; j++) {
      const isSame = a[i - 1] === b[j - 1]
      let cost = Math.min(last[j]! + 1, row[j - 1]! + 1, last[j - 1]! + (isSame ? 0 : 1))
      if (i > 1 && j > 1 && a[i - 1] === b[j - 2] && a[i - 2] === b[j - 1]) cost = Math.min(cost, before[j - 2]! + 1)
      row.push(cost)
    }
    before = last
    last = row
  }
  return last[b.length]!
}
