/** The JSON of a run. */
import { mkdir, readFile, writeFile } from "node:fs/promises"
import { availableParallelism, cpus, loadavg, totalmem } from "node:os"
import { dirname } from "node:path"
import type { Figure, Round } from "./Figure.ts"

/** Where figures were made. */
export interface Machine {
  readonly node: string
  readonly platform: string
  readonly cpuModel: string
  readonly cpus: number
  readonly memoryGiB: number
  /** Average number of busy processes in the minute before; more than a little says that the figures are not clean. */
  readonly loadBefore: number
}

/** A run of the benchmark. */
export interface Report {
  readonly isQuick: boolean
  readonly machine: Machine
  readonly seconds: number
  readonly figures: ReadonlyArray<Figure>
  /** Suites that have no figures, with the reason. */
  readonly failures: Record<string, string>
  readonly rounds: Record<string, ReadonlyArray<Round>>
}

/** This machine, now. */
export const machine = (): Machine => ({
  node: process.versions.node,
  platform: `${process.platform} ${process.arch}`,
  cpuModel: cpus()[0]?.model ?? "unknown",
  cpus: availableParallelism(),
  memoryGiB: Math.round(totalmem() / 1024 ** 3),
  loadBefore: loadavg()[0]!
})

/** Writes the report, making its directory. */
export const write = async (path: string, report: Report): Promise<void> => {
  await mkdir(dirname(path), { recursive: true })
  await writeFile(path, `${JSON.stringify(report, undefined, 2)}\n`)
}

/** Reads a report that this benchmark wrote. */
export const read = async (path: string): Promise<Report> => JSON.parse(await readFile(path, "utf8")) as Report
