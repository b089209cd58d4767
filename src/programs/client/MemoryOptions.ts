/** The options of a cluster and of a job that are about memory, and their checks. */
import { Result } from "effect"
import type { InvalidOption } from "../../domain/ClusterError.ts"
import type { ExecutorKind, SlotLimits } from "../../domain/Computation.ts"
import { fail, integer } from "./OptionChecks.ts"

/** Options of a single job, also of all jobs of a cluster. */
export interface JobMemory {
  /**
   * Most memory in bytes that a job may use: its process with everything that it started, resident or swapped out, the
   * 60 MiB or so of the process itself included. A job that is seen to use more (about ten times a second) is killed and
   * ends with `JobOutOfMemory`. At least 96 MiB; 0 for any. Not for jobs that share a process (`executor: "thread"`,
   * `concurrency`). Default 0.
   */
  readonly memory?: number | undefined
}

/** Options of a cluster. */
export interface SlotOptions {
  /**
   * A slot whose process and all it started use more than so many bytes when it has no job is replaced by a fresh one:
   * for code that leaks. At least 96 MiB; 0 for never. Not with `executor: "thread"`. Default 0.
   */
  readonly slotMemory?: number | undefined
  /** A slot is replaced by a fresh one after so many jobs; 0 for never. Default 0. */
  readonly slotJobs?: number | undefined
}

/** Checked options. */
export interface CheckedMemory {
  /** 0 for any. */
  readonly memoryKiB: number
  /** Undefined for none. */
  readonly slotLimits: SlotLimits | undefined
}

/** What a process needs before it does anything is about 60 MiB; a limit has to leave something for the job. */
const leastBytes = 96 * 2 ** 20

/** What the protocol has room for: 4 TiB. */
const mostBytes = 0xffffffff * 1024

/** Where jobs run. */
interface Sharing {
  readonly executor: ExecutorKind
  readonly concurrency: number
}

/** Whether a job has a process to itself. */
export const isAlone = ({ concurrency, executor }: Sharing): boolean => executor === "process" && concurrency === 1

const sizeOf = (option: string, value: number | undefined, byDefault: number): Result.Result<number, InvalidOption> =>
  Result.flatMap(integer(option, value, byDefault, [0, mostBytes]), (bytes) => {
    if (bytes === 0 || bytes >= leastBytes) return Result.succeed(Math.ceil(bytes / 1024))
    const meant = bytes >= 96 && bytes < 1024 ** 2 ? `; did you mean ${bytes} * 1024 ** 2 (${bytes} MiB)?` : ""
    return fail(
      option,
      `${bytes} bytes are less than the ${leastBytes} (96 MiB) without which a job process cannot do anything${meant}`
    )
  })

const limitOf = (value: number | undefined, byDefault: number, alone: boolean): Result.Result<number, InvalidOption> =>
  Result.flatMap(sizeOf("memory", value, byDefault), (kib) =>
    kib === 0 || alone
      ? Result.succeed(kib)
      : fail(
        "memory",
        "jobs that share a process (executor \"thread\", or concurrency over 1) cannot be told apart by what they use;" +
          " leave one of the options out"
      ))

/** A job's limit in KiB; 0 for none. */
export const ofJob = (
  value: number | undefined,
  cluster: { readonly memoryKiB: number; readonly isAlone: boolean }
): Result.Result<number, InvalidOption> =>
  value === undefined ? Result.succeed(cluster.memoryKiB) : limitOf(value, 0, cluster.isAlone)

/** Those of a cluster. */
export const check = (
  options: JobMemory & SlotOptions,
  sharing: Sharing
): Result.Result<CheckedMemory, InvalidOption> =>
  Result.gen(function*() {
    const memoryKiB = yield* sizeOf("slotMemory", options.slotMemory, 0)
    const jobs = yield* integer("slotJobs", options.slotJobs, 0, [0, Number.MAX_SAFE_INTEGER])
    if (memoryKiB > 0 && sharing.executor === "thread") {
      return yield* fail(
        "slotMemory",
        "threads share their process and what is in its memory, which would be lost; leave it out, or use slotJobs"
      )
    }
    return {
      memoryKiB: yield* limitOf(options.memory, 0, isAlone(sharing)),
      slotLimits: memoryKiB === 0 && jobs === 0 ? undefined : { memoryKiB, jobs }
    }
  })
