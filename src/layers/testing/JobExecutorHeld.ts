/**
 * An executor that can keep to itself how jobs ended: between the end of a job and its reply is the moment at which tests
 * kill nodes. Knows which jobs run, too.
 */
import { Effect, Layer } from "effect"
import * as Entries from "../../domain/wire/Entries.ts"
import { JobExecutor } from "../../services/JobExecutor.ts"

/** Jobs of a node, and whether it tells how they end. */
export interface Holding {
  isHolding: boolean
  /** Tells what was held. */
  readonly releases: Set<() => void>
  /** "computation job": those that have started and have no outcome that was told. */
  readonly running: Set<string>
}

/** Nothing is held. */
export const make = (): Holding => ({ isHolding: false, releases: new Set(), running: new Set() })

/** What a running job is called. */
export const keyOf = (computationId: string, jobId: number): string => `${computationId} ${jobId}`

/** Whether a job of that number runs. */
export const isRunning = ({ running }: Holding, jobId: number): boolean => {
  for (const key of running) if (key.endsWith(` ${jobId}`)) return true
  return false
}

/** Begins or ends holding. */
export const set = (holding: Holding, isHolding: boolean): void => {
  holding.isHolding = isHolding
  if (!isHolding) { for (const release of holding.releases) release() }
}

const cancelled = (held: Uint8Array): Uint8Array => {
  const reply = Entries.readReply(held, Entries.viewOf(held), 0)
  return Entries.encodeReply({ ...reply, outcome: Entries.Outcome.cancelled, flags: 0, result: Entries.noBytes })
}

/** Replies one by one. */
const entriesOf = function*(batch: Uint8Array): Generator<{ readonly entry: Uint8Array; readonly jobId: number }> {
  const view = Entries.viewOf(batch)
  for (let offset = 0; offset < batch.length;) {
    const size = Entries.entrySize(view, offset)
    yield { entry: batch.subarray(offset, offset + size), jobId: Entries.entryJobId(view, offset) }
    offset += size
  }
}

/** Whether the entry says how a job ended: not what it sent meanwhile, and not that it never started. */
const isEnd = (entry: Uint8Array): boolean => {
  const outcome = Entries.replyOutcome(Entries.viewOf(entry), 0)
  return outcome !== Entries.Outcome.provisional && outcome !== Entries.Outcome.returned
}

/** The executor in the context, with its replies held when they are to be. */
export const layer = (holding: Holding): Layer.Layer<JobExecutor, never, JobExecutor> =>
  Layer.effect(
    JobExecutor,
    Effect.map(JobExecutor, (executor) =>
      JobExecutor.of({
        ...executor,
        open: Effect.fnUntraced(function*(request) {
          const held = new Map<number, Uint8Array>()
          const tell = (jobId: number, entry: Uint8Array): void => {
            held.delete(jobId)
            holding.running.delete(keyOf(request.computation.id, jobId))
            request.onReplies(entry)
          }
          const release = (): void => {
            for (const [jobId, entry] of held) tell(jobId, entry)
          }
          const session = yield* executor.open({
            ...request,
            onReplies: (batch) => {
              for (const { entry, jobId } of entriesOf(batch)) {
                if (!isEnd(entry)) request.onReplies(entry)
                else if (holding.isHolding) held.set(jobId, entry)
                else tell(jobId, entry)
              }
            }
          })
          yield* Effect.acquireRelease(
            Effect.sync(() => holding.releases.add(release)),
            () => Effect.sync(() => holding.releases.delete(release))
          )
          return {
            ...session,
            cancel: (jobIds) => {
              session.cancel(jobIds)
              for (const jobId of jobIds) {
                const entry = held.get(jobId)
                if (entry !== undefined) tell(jobId, cancelled(entry))
              }
            },
            jobs: () => {
              const { running, waiting } = session.jobs()
              return { running: [...held.keys(), ...running], waiting }
            }
          }
        })
      }))
  )
