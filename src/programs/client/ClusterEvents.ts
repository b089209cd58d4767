/**
 * What happens in a cluster, for those who listen: every status of every job and
 * node, once and in order. Nobody who is slow holds up the cluster: a reader that
 * falls behind loses the oldest events and is told how many.
 */
import type { DispyNode, NodeStatus } from "../../domain/DispyNode.ts"
import type { JobStatus } from "../../domain/scheduler/JobRecord.ts"

/** Something that happened to a job or to a node of a cluster. */
export interface ClusterEvent<out Job = unknown> {
  /** The new status of the job if there is one, else of the node. */
  readonly status: JobStatus | NodeStatus
  /** The node; absent for jobs that no node has. */
  readonly node: DispyNode | undefined
  /** The job; absent when the event is the node's own. */
  readonly job: Job | undefined
  /** Events before this one that the reader lost because it was slower than they came; usually 0. */
  readonly dropped: number
}

/** Hears of every event at once; must not throw. */
export type Listener = (status: JobStatus | NodeStatus, node: DispyNode | undefined, job: unknown) => void

/** The events of a cluster. */
export interface ClusterEvents {
  /** Whether anybody listens: without, jobs cost nothing more. */
  isWatched: boolean
  isEnded: boolean
  readonly listeners: Set<Listener>
  readonly readers: Set<EventReader>
}

/** Events without listeners. */
export const make = (): ClusterEvents => ({
  isWatched: false,
  isEnded: false,
  listeners: new Set(),
  readers: new Set()
})

/** Calls the listener for every event from now on; returns a function that ends that. */
export const listen = (events: ClusterEvents, listener: Listener): () => void => {
  events.listeners.add(listener)
  events.isWatched = true
  return () => {
    events.listeners.delete(listener)
    events.isWatched = events.listeners.size > 0
  }
}

/** Tells who listens. */
export const emit = (
  events: ClusterEvents,
  status: JobStatus | NodeStatus,
  node: DispyNode | undefined,
  job: unknown
): void => {
  for (const listener of events.listeners) listener(status, node, job)
}

/** The cluster is closed: readers end when they have read what there is. */
export const end = (events: ClusterEvents): void => {
  events.isEnded = true
  for (const reader of events.readers) reader.end()
}

/** Events that a reader may be behind. */
export const readerCapacity = 10_000

/** Reads the events from now on; begins with `Initialized` for every node that is ready already. */
export class EventReader<Job = unknown> implements AsyncIterableIterator<ClusterEvent<Job>, void, void> {
  readonly #events: ClusterEvents
  readonly #forget: () => void
  readonly #hold: () => () => void
  #queue: Array<Omit<ClusterEvent<Job>, "dropped">>
  #head = 0
  #dropped = 0
  #isEnded = false
  #wake: (() => void) | undefined

  /** `hold` is called while somebody waits for an event, and what it returns after that. */
  constructor(events: ClusterEvents, ready: ReadonlyArray<DispyNode>, hold: () => () => void = () => () => {}) {
    this.#events = events
    this.#hold = hold
    this.#queue = ready.map((node) => ({ status: "Initialized", node, job: undefined }))
    this.#isEnded = events.isEnded
    this.#forget = listen(events, (status, node, job) => {
      this.#queue.push({ status, node, job: job as Job | undefined })
      if (this.#queue.length - this.#head > readerCapacity) {
        this.#head++
        this.#dropped++
      }
      // In blocks: to move ten thousand events for each one that comes is the dearest part of it all.
      if (this.#head >= readerCapacity) this.#compact()
      this.#wake?.()
    })
    events.readers.add(this)
  }

  /** The next event, as soon as it is there. */
  async next(): Promise<IteratorResult<ClusterEvent<Job>, void>> {
    while (this.#head === this.#queue.length && !this.#isEnded) {
      const release = this.#hold()
      await new Promise<void>((resolve) => {
        this.#wake = resolve
      })
      release()
    }
    const event = this.#queue[this.#head]
    if (event === undefined) return await this.return()
    this.#head++
    if (this.#head === this.#queue.length) this.#compact()
    const dropped = this.#dropped
    this.#dropped = 0
    return { done: false, value: { ...event, dropped } }
  }

  /** Stops reading. */
  return(): Promise<IteratorReturnResult<void>> {
    this.#forget()
    this.#events.readers.delete(this)
    this.#queue = []
    this.#head = 0
    this.end()
    return Promise.resolve({ done: true, value: undefined })
  }

  [Symbol.asyncIterator](): this {
    return this
  }

  /** No more events come. */
  end(): void {
    this.#isEnded = true
    this.#wake?.()
  }

  #compact(): void {
    this.#queue = this.#queue.slice(this.#head)
    this.#head = 0
  }
}
