/**
 * Progress on stderr: a bar with rate and time left on a terminal, a line every few seconds elsewhere. Fits any width
 * and has colours unless NO_COLOR is set.
 */

/** What has been done of a known or unknown total. */
export interface Progress extends Disposable {
  /** So much more is done. */
  readonly advance: (amount: number) => void
}

const terminalMillis = 100
const plainMillis = 3000

const clock = (seconds: number): string => {
  const whole = Math.ceil(seconds)
  const minutes = Math.floor(whole / 60)
  const hours = Math.floor(minutes / 60)
  const two = (n: number) => String(n).padStart(2, "0")
  return hours > 0 ? `${hours}:${two(minutes % 60)}:${two(whole % 60)}` : `${minutes}:${two(whole % 60)}`
}

const count = (n: number): string => n >= 100 ? n.toFixed(0) : n.toPrecision(3).replace(/\.?0+$/, "")

/** Parts that fit in `room` columns; the first ones matter most. */
const fitting = (parts: ReadonlyArray<string>, room: number): ReadonlyArray<string> => {
  const kept: Array<string> = []
  let used = 0
  for (const part of parts) {
    used += part.length + 2
    if (used > room) break
    kept.push(part)
  }
  return kept
}

/** Reports on work of which `total` units are to be done; undefined when nobody knows how many. */
export const start = (title: string, unit: string, total?: number): Progress => {
  const { stderr } = process
  const isTerminal = stderr.isTTY && process.env["TERM"] !== "dumb"
  const hasColours = isTerminal && (process.env["NO_COLOR"] ?? "") === ""
  const colour = (code: string, text: string) => hasColours ? `\u001b[${code}m${text}\u001b[0m` : text
  const startedAt = performance.now()
  let done = 0

  const parts = (): ReadonlyArray<string> => {
    const seconds = (performance.now() - startedAt) / 1000
    const rate = done / Math.max(seconds, 0.001)
    const speed = `${count(rate)} ${unit}/s`
    if (total === undefined) return [`${done} ${unit}`, speed]
    const left = done === 0 ? "ETA ?" : `ETA ${clock((total - done) / rate)}`
    return [`${String(Math.floor((100 * done) / total)).padStart(3)} %`, left, speed, `${done}/${total} ${unit}`]
  }

  const bar = (width: number): string => {
    const full = Math.round((width * done) / (total ?? 1))
    return colour("36", "█".repeat(full)) + colour("90", "░".repeat(width - full))
  }

  const draw = (): void => {
    const room = Math.max(10, (stderr.columns || 80) - 1)
    const texts = fitting(parts(), room - title.length)
    const used = texts.reduce((sum, text) => sum + text.length + 2, title.length + 1)
    const width = Math.min(40, room - used)
    const line = [...(total !== undefined && width >= 6 ? [bar(width)] : []), texts.join("  ")].join(" ")
    stderr.write(`\r\u001b[2K${title} ${line}`)
  }

  const print = (): void => {
    stderr.write(`${title}: ${parts().join(", ").trim()}\n`)
  }

  const printEnd = (): void => {
    const seconds = (performance.now() - startedAt) / 1000
    stderr.write(`${title}: ${done} ${unit} in ${seconds.toFixed(1)} s, ${count(done / seconds)} ${unit}/s\n`)
  }

  if (isTerminal) draw()
  const timer = setInterval(isTerminal ? draw : print, isTerminal ? terminalMillis : plainMillis)
  return {
    advance: (amount) => {
      done += amount
    },
    [Symbol.dispose]: () => {
      clearInterval(timer)
      if (isTerminal) stderr.write("\r\u001b[2K")
      else printEnd()
    }
  }
}
