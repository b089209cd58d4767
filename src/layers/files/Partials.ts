/**
 * Temporary files of transfers in a directory of the user: named after the process
 * that writes them, so that what a killed one left is found and removed.
 */
import * as fs from "node:fs"
import * as path from "node:path"
import { partialPrefix } from "../../domain/transfer/RelativePath.ts"
import * as ProcessName from "./ProcessName.ts"

let last = 0

/** A name for a new one in this directory. */
export const fresh = (directory: string): string =>
  path.join(directory, `${partialPrefix}${ProcessName.own()}-${++last}.part`)

/** Removes what processes left in a directory that are gone. */
export const removeStale = (directory: string): void => {
  let names: ReadonlyArray<string>
  try {
    names = fs.readdirSync(directory)
  } catch {
    return
  }
  for (const name of names) {
    const owner = /^\.dispy-(\d+-\d+)-\d+\.part$/.exec(name)?.[1]
    if (owner !== undefined && ProcessName.isStale(owner)) fs.rmSync(path.join(directory, name), { force: true })
  }
}
