/**
 * Jobs that ended as `JobPoisoned`: their arguments are kept, so that they can be
 * submitted again when what made them crash is mended. They are kept with the
 * job: a program that forgets it has forgotten them.
 */
import { Result } from "effect"
import * as fs from "node:fs"
import { NotResubmittable } from "../../domain/ClusterError.ts"
import type { HeldArguments } from "../../domain/scheduler/JobRecord.ts"
import * as Trials from "../../domain/scheduler/Trials.ts"
import { noBytes } from "../../domain/wire/Entries.ts"
import * as ArgumentSpill from "./ArgumentSpill.ts"
import { ClusterJob, nameOf } from "./ClusterJob.ts"

/** The poisoned jobs of a cluster. */
export interface Poisoned {
  readonly jobs: WeakSet<ClusterJob>
  /** Large arguments, which are counted or in files. */
  readonly held: Set<HeldArguments>
}

/** None. */
export const make = (): Poisoned => ({ jobs: new WeakSet(), held: new Set() })

/** Lets the arguments of a job go that has ended, unless it is poisoned and somebody has it. */
export const keep = (
  { held, jobs }: Poisoned,
  job: ClusterJob,
  { isJournaled, isOwn }: { readonly isOwn: boolean; readonly isJournaled: boolean }
): void => {
  let isKept = job.trials?.isPoisoned === true && isOwn
  if (isJournaled) {
    // The file with large arguments goes when the journal has noted the outcome.
    if (isKept && job.held !== undefined) {
      try {
        job.args = fs.readFileSync(job.held.path)
      } catch {
        // Somebody removed it: the job's outcome is told all the same, and `resubmit` refuses it.
        isKept = false
      }
    }
    job.held = undefined
  }
  if (isKept) {
    jobs.add(job)
    if (job.held !== undefined) held.add(job.held)
    return
  }
  job.args = noBytes
  if (job.held !== undefined) ArgumentSpill.release(job.held)
}

/** A new job, with this number, of the arguments and options of a poisoned one, which loses its own. */
export const take = (
  { held, jobs }: Poisoned,
  job: ClusterJob,
  cluster: string,
  number: number
): Result.Result<ClusterJob, NotResubmittable> => {
  if (!jobs.delete(job)) {
    const reason = job.outcome === undefined
      ? "it has not ended"
      : job.outcome.error?._tag === "JobPoisoned"
      ? "it was submitted again already, or belongs to another cluster"
      : "only of jobs that end as JobPoisoned are the arguments kept"
    return Result.fail(new NotResubmittable({ cluster, jobId: nameOf(job), reason }))
  }
  const fresh = new ClusterJob(number, job.args, job.flags, job, job.id, job.pinnedTo)
  fresh.held = job.held
  fresh.files = job.files
  fresh.classes = job.classes
  if (job.trials !== undefined) fresh.trials = Trials.make(job.trials.terms)
  if (job.held !== undefined) held.delete(job.held)
  job.args = noBytes
  job.held = undefined
  return Result.succeed(fresh)
}

/** The cluster is closed: nothing is submitted any more. */
export const clear = ({ held }: Poisoned): void => {
  for (const one of held) ArgumentSpill.release(one)
  held.clear()
}
