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

/** The bar is not narrower than that, nor wider than four times as much; a terminal without room for it gets none. */
const barWidth = 8

/** Parts that fit in `room` columns; the first ones matter most. */
const fitting = (parts: ReadonlyArray<string>, room: number): ReadonlyArray<string> => {
  let used = 0
  return parts.filter((part) => (used += part.length + 2) <= room)
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
    const speed = `${count(rate).padStart(4)} ${unit}/s`
    if (total === undefined) return [`${done} ${unit}`, speed]
    const left = done === 0 ? "?" : clock((total - done) / rate)
    const percent = String(Math.floor((100 * done) / total))
    const counted = String(done).padStart(String(total).length)
    return [`${percent.padStart(3)} %`, `ETA ${left.padStart(4)}`, speed, `${counted}/${total} ${unit}`]
  }

  const bar = (width: number): string => {
    const full = Math.round((width * done) / (total ?? 1))
    return colour("36", "█".repeat(full)) + colour("90", "░".repeat(width - full))
  }

  const draw = (): void => {
    const room = Math.max(10, (stderr.columns || 80) - 1) - title.length
    const texts = fitting(parts(), total === undefined ? room : room - barWidth - 1).join("  ")
    const width = Math.min(4 * barWidth, room - texts.length - 2)
    stderr.write(`\r\u001b[2K${title} ${total !== undefined && width >= barWidth ? `${bar(width)} ` : ""}${texts}`)
  }

  const print = (): void => {
    stderr.write(`${title}: ${parts().map((part) => part.trim()).join(", ")}\n`)
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
