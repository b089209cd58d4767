/** Processes of the package that run on this machine: daemons, slots, guardians. */
import { readdirSync, readFileSync } from "node:fs"
import { expect, vi } from "vitest"

/** A process of the package. */
export interface OurProcess {
  readonly pid: number
  readonly command: string
}

const commandOf = (pid: number): string => {
  try {
    return readFileSync(`/proc/${pid}/cmdline`, "utf8").replaceAll("\0", " ").trim()
  } catch {
    // It ended while we looked.
    return ""
  }
}

/** Daemons and slots that run now. */
export const running = (): ReadonlyArray<OurProcess> =>
  readdirSync("/proc")
    .filter((name) => /^\d+$/.test(name))
    .map((name) => ({ pid: Number(name), command: commandOf(Number(name)) }))
    .filter(({ command }) => /programs\/dispynode\.[jt]s|slot\/main\.[jt]s/.test(command))

/** Waits until every daemon and slot has ended; fails with what is left. For tests that run alone on the machine. */
export const untilIdle = (): Promise<void> =>
  vi.waitFor(() => expect(running()).toEqual([]), { timeout: 10_000, interval: 20 })
