/** Arguments and results that are too large for entries: files in a directory of the node. */
import * as fs from "node:fs"
import * as path from "node:path"
import { argumentsName, largeBytes, resultName } from "../domain/wire/LargeValue.ts"
import type { PrepareSlot } from "../domain/wire/SlotFrames.ts"

interface Execution {
  readonly jobId: number
  readonly attempt: number
}

/** The value could not be read or written here; it is not the job's fault. */
export class LargeValueError extends Error {
  override readonly name = "LargeValueError"
}

const failed = (what: string, error: unknown): LargeValueError =>
  new LargeValueError(`${what}: ${error instanceof Error ? error.message : String(error)}`)

/** The encoded arguments of a job; their file goes. */
export const readArguments = ({ valuesDirectory }: PrepareSlot, job: Execution): Uint8Array => {
  const file = path.join(valuesDirectory, argumentsName(job))
  try {
    const bytes = fs.readFileSync(file)
    fs.unlinkSync(file)
    return bytes
  } catch (error) {
    throw failed("its arguments cannot be read", error)
  }
}

/** Whether a result is to go into a file. */
export const isLarge = ({ valuesDirectory }: PrepareSlot, result: Uint8Array): boolean =>
  result.length > largeBytes && valuesDirectory !== ""

/** Writes a result into a file; returns what the entry says of it. */
export const writeResult = ({ valuesDirectory }: PrepareSlot, job: Execution, result: Uint8Array): Uint8Array => {
  const file = path.join(valuesDirectory, resultName(job))
  try {
    fs.writeFileSync(file, result, { mode: 0o600 })
  } catch (error) {
    fs.rmSync(file, { force: true })
    throw failed(`its result cannot be written to ${file}`, error)
  }
  const size = Buffer.alloc(8)
  size.writeDoubleLE(result.length)
  return size
}
