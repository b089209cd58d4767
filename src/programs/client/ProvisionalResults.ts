/**
 * The provisional results of a job: the latest for who looks, all of them in order
 * for who listens. A job without any costs nothing; the last `keptResults` are kept
 * for listeners to come, so that results which nobody listens to stay bounded.
 */
import { type ClusterJob, onOutcome, type ProvisionalLog } from "./ClusterJob.ts"

/** Results kept for those who begin to listen later. */
const keptResults = 1000

const of = (job: ClusterJob): ProvisionalLog => job.provisional ??= { kept: [], listeners: new Set() }

/** Takes in a result that a job has sent. */
export const add = (job: ClusterJob, value: unknown): void => {
  const { kept, listeners } = of(job)
  // In blocks: to move a thousand results for each one that comes is the dearest part of it all.
  if (kept.push(value) >= keptResults * 2) kept.splice(0, keptResults)
  for (const listener of listeners) listener(value)
}

/** The job is tried again: what another attempt sent is not of this one. */
export const reset = ({ provisional }: ClusterJob): void => {
  if (provisional !== undefined) provisional.kept.length = 0
}

/** The latest result; undefined before the first. */
export const latest = (job: ClusterJob): unknown => job.provisional?.kept.at(-1)

/** The results of a job, the kept ones first, until the job has its outcome. */
export class ProvisionalIterator<A> implements AsyncIterableIterator<A, void, void> {
  readonly #queue: Array<unknown>
  readonly #stop: () => void
  #head = 0
  #isEnded = false
  #wake: (() => void) | undefined

  constructor(job: ClusterJob) {
    const { kept, listeners } = of(job)
    this.#queue = kept.slice(-keptResults)
    const listener = (value: unknown): void => {
      this.#queue.push(value)
      this.#wake?.()
    }
    listeners.add(listener)
    const forget = onOutcome(job, () => this.#end())
    this.#stop = () => {
      listeners.delete(listener)
      forget()
    }
  }

  /** The next result, as soon as it is there. */
  async next(): Promise<IteratorResult<A, void>> {
    while (this.#head === this.#queue.length && !this.#isEnded) {
      await new Promise<void>((resolve) => {
        this.#wake = resolve
      })
    }
    if (this.#head === this.#queue.length) return { done: true, value: undefined }
    const value = this.#queue[this.#head++] as A
    if (this.#head === this.#queue.length) {
      this.#queue.length = 0
      this.#head = 0
    }
    return { done: false, value }
  }

  /** Stops listening; the job goes on. */
  return(): Promise<IteratorReturnResult<void>> {
    this.#stop()
    this.#queue.length = 0
    this.#head = 0
    this.#end()
    return Promise.resolve({ done: true, value: undefined })
  }

  [Symbol.asyncIterator](): this {
    return this
  }

  #end(): void {
    this.#isEnded = true
    this.#wake?.()
  }
}
