/**
 * What a job sees of dispy. On a node every job has the global `dispy`;
 * `import type {} from "dispy/job"` types it. Modules that run as computations can
 * also import it, which bundles a few lines and nothing else of the package.
 */

/** The job that runs, and where. */
export interface DispyGlobal {
  /** Number of the job within its cluster, from 1; error messages call it so unless the job has an `id`. */
  readonly jobId: number
  /**
   * Aborts when the job is to end: it was cancelled, ran out of time, or its cluster closes. A job that has asked for
   * the signal gets the cluster's `grace` to end by itself; what is left of it then is killed.
   */
  readonly signal: AbortSignal
  /**
   * Sends an intermediate result to the client, at once, also from a loop that never awaits; the job goes on. Results
   * arrive in order and before the job's own. Throws when the value cannot be sent or has more than
   * 16 MiB. What a generator yields is sent in the same way. In a `map` they go nowhere: its items have no jobs.
   */
  readonly provisionalResult: (value: unknown) => void
  /**
   * Sends a file of the node to the client that submitted the job, which puts it below the cluster's `filesDirectory`:
   * with its path if it is below the working directory, else under its base name. Resolves to 0 when it is there, whole;
   * rejects when there is no such file, it is larger than the node or the client takes, or the client refuses it. The job
   * ends only when its files have arrived, awaited or not. Not for programs.
   */
  readonly sendFile: (path: string) => Promise<number>
  /** Name of the node. */
  readonly nodeName: string
  /** Address of the node. */
  readonly ipAddr: string
  /** What the cluster's `setup` returned on this node, in a copy of this process; undefined without a `setup`. */
  readonly shared: unknown
}

declare global {
  /** The running job, on a node; undefined elsewhere. */
  var dispy: DispyGlobal
}

const current = (field: keyof DispyGlobal): DispyGlobal => {
  const found = globalThis.dispy as DispyGlobal | undefined
  if (found !== undefined) return found
  throw new Error(
    `dispy.${field} exists only inside a job: this process (${process.pid}) is not a slot of a dispy node; ` +
      "submit the code to a cluster, or set globalThis.dispy to an object of your own to test it"
  )
}

/**
 * The same as the global `dispy`, for modules that prefer an import. Every field is read when it is used and throws
 * outside of a job, so that the module can be imported anywhere.
 *
 * @example
 * ```ts
 * import { dispy } from "dispy/job"
 *
 * export const whereAmI = () => `job ${dispy.jobId} on ${dispy.nodeName}`
 * ```
 */
export const dispy: DispyGlobal = Object.freeze({
  get jobId() {
    return current("jobId").jobId
  },
  get signal() {
    return current("signal").signal
  },
  get provisionalResult() {
    return current("provisionalResult").provisionalResult
  },
  get sendFile() {
    return current("sendFile").sendFile
  },
  get nodeName() {
    return current("nodeName").nodeName
  },
  get ipAddr() {
    return current("ipAddr").ipAddr
  },
  get shared() {
    return current("shared").shared
  }
})
