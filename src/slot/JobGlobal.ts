/** The global `dispy` that jobs see. */
import { FromSlot, type PrepareSlot } from "../domain/wire/SlotFrames.ts"
import * as Channel from "./Channel.ts"
import * as SendFile from "./SendFile.ts"

/** What it shows of the job that runs. */
export interface JobView {
  readonly jobId: number
  controller: AbortController | null
  files: Set<number> | null
}

/** Where to find that job. */
export interface JobSource {
  readonly current: JobView | null
  readonly directory: string
  readonly stay: (isNeeded: boolean) => void
  readonly emit: (value: unknown) => void
}

/** A signal for a job that asks for one; the node is told, so that it aborts before it kills. */
const signalOf = (loop: JobSource): AbortSignal => {
  const { current } = loop
  if (current === null) return AbortSignal.abort(new DOMException("no job is running", "AbortError"))
  if (current.controller === null) {
    current.controller = new AbortController()
    loop.stay(true)
    Channel.sendNumber(FromSlot.listening, current.jobId)
  }
  return current.controller.signal
}

/** Defines `globalThis.dispy` for the jobs of this loop. */
export const install = (loop: JobSource, told: PrepareSlot): void => {
  const dispy = Object.freeze({
    get jobId(): number {
      return loop.current?.jobId ?? 0
    },
    get signal(): AbortSignal {
      return signalOf(loop)
    },
    provisionalResult: (value: unknown): void => loop.emit(value),
    sendFile: (path: unknown): Promise<number> => SendFile.sendFile(loop, path),
    nodeName: told.nodeName,
    ipAddr: told.ipAddr
  })
  Object.defineProperty(globalThis, "dispy", { value: dispy, configurable: true, enumerable: false, writable: false })
}
