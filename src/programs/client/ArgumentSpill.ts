/**
 * Encoded arguments that wait for a node: a queue of many large ones must not fill
 * the memory of the client, so beyond a bound they wait in files of a private
 * directory, from which they are sent as they are.
 */
import * as fs from "node:fs"
import * as os from "node:os"
import * as path from "node:path"
import type { HeldArguments } from "../../domain/scheduler/JobRecord.ts"
import * as ProcessName from "../../layers/files/ProcessName.ts"

/** Bytes of arguments that wait in memory, over all clusters of the process. */
export const heldBytes = 256 * 1024 * 1024

/** Smaller arguments are not worth a file. */
const leastBytes = 64 * 1024

let held = 0
let directory = ""
let last = 0
/** Files that there are. */
let spilled = 0

const prefix = "dispy-arguments-"

/** Removes what processes left that were killed. */
const removeStale = (): void => {
  for (const name of fs.readdirSync(os.tmpdir())) {
    const owner = /^dispy-arguments-(\d+-\d+)-/.exec(name)?.[1]
    if (owner === undefined || !ProcessName.isStale(owner)) continue
    try {
      fs.rmSync(path.join(os.tmpdir(), name), { recursive: true, force: true })
    } catch {
      // It is another user's.
    }
  }
}

const makeDirectory = (): string => {
  if (directory === "") {
    removeStale()
    directory = fs.mkdtempSync(path.join(os.tmpdir(), `${prefix}${ProcessName.own()}-`))
    const made = directory
    process.once("exit", () => fs.rmSync(made, { recursive: true, force: true }))
  }
  return directory
}

/** Counts arguments that are to wait; puts them into a file where there are too many. Undefined for small ones. */
export const hold = (encoded: Uint8Array): HeldArguments | undefined => {
  if (encoded.length < leastBytes) return undefined
  const sizeBytes = encoded.length
  if (held + sizeBytes <= heldBytes) {
    held += sizeBytes
    return { path: "", sizeBytes }
  }
  let file = ""
  try {
    file = path.join(makeDirectory(), String(++last))
    fs.writeFileSync(file, encoded, { flag: "wx", mode: 0o600 })
  } catch {
    // Without room on the disk memory has to do.
    if (file !== "") fs.rmSync(file, { force: true })
    held += sizeBytes
    return { path: "", sizeBytes }
  }
  spilled++
  return { path: file, sizeBytes }
}

/** The arguments are not needed any more. */
export const release = ({ path: file, sizeBytes }: HeldArguments): void => {
  if (file === "") held -= sizeBytes
  else fs.rm(file, { force: true }, leave)
}

/** The directory goes with the last file in it. */
const leave = (): void => {
  if (--spilled > 0 || directory === "") return
  fs.rmSync(directory, { recursive: true, force: true })
  directory = ""
}
