/** The global `dispy` that jobs see. */
import { FromSlot, type SlotSurroundings } from "../domain/wire/SlotFrames.ts"
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
  readonly directory: string
  /** The job whose code runs. */
  readonly current: () => JobView | null
  /** The job has asked for its signal. */
  readonly listens: (job: JobView) => void
  /** The job waits for its node. */
  readonly waits: () => void
  readonly emit: (value: unknown) => void
}

/** A signal for a job that asks for one; the node is told, so that it aborts before it kills. */
const signalOf = (source: JobSource): AbortSignal => {
  const current = source.current()
  if (current === null) return AbortSignal.abort(new DOMException("no job is running", "AbortError"))
  if (current.controller === null) {
    current.controller = new AbortController()
    source.listens(current)
    Channel.sendNumber(FromSlot.listening, current.jobId)
  }
  return current.controller.signal
}

/** What the global shows of the process that it is in. */
type Place = Pick<SlotSurroundings, "nodeName" | "ipAddr">

const noJob = (): void => {
  throw new Error("no job is running that could have a provisional result")
}

/** Defines `globalThis.dispy` for code that runs before or after the jobs. */
export const installOutside = (told: Place, shared: unknown): void => {
  const noJobs = { current: () => null, listens: () => {}, emit: noJob, directory: process.cwd(), waits: () => {} }
  install(noJobs, told, shared)
}

/** Defines `globalThis.dispy` for the jobs of this source. `shared` is what `setup` returned. */
export const install = (source: JobSource, told: Place, shared: unknown): void => {
  const dispy = Object.freeze({
    shared,
    get jobId(): number {
      return source.current()?.jobId ?? 0
    },
    get signal(): AbortSignal {
      return signalOf(source)
    },
    provisionalResult: (value: unknown): void => source.emit(value),
    sendFile: (path: unknown): Promise<number> => SendFile.sendFile(source, path),
    nodeName: told.nodeName,
    ipAddr: told.ipAddr
  })
  Object.defineProperty(globalThis, "dispy", { value: dispy, configurable: true, enumerable: false, writable: false })
}
