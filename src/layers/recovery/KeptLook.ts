/** Asks the nodes of a recover file what they keep, and leaves it there: nothing is fetched, forgotten or ended. */
import { Effect, Stream } from "effect"
import type { KeptEvent } from "../../domain/NodeRpcs.ts"
import type * as ExplainJobs from "../../domain/recovery/ExplainJobs.ts"
import * as RecoverFile from "../../domain/recovery/RecoverFile.ts"
import * as Entries from "../../domain/wire/Entries.ts"
import { NodeLink } from "../../services/NodeLink.ts"

const jobsOf = (event: KeptEvent): ReadonlyArray<ExplainJobs.ToldJob> => {
  switch (event._tag) {
    case "KeptLease":
      return event.computations.flatMap(({ computationId, unreplied }) =>
        unreplied.map((number) => ({ computationId, number, reply: undefined, lost: "" }))
      )
    case "KeptReplies": {
      const { batch, computationId } = event
      if (Entries.countReplies(batch) < 0) return []
      const view = Entries.viewOf(batch)
      const jobs: Array<ExplainJobs.ToldJob> = []
      for (let offset = 0; offset < batch.length; offset += Entries.entrySize(view, offset)) {
        const { result: _result, stderr: _stderr, stdout: _stdout, ...reply } = Entries.readReply(batch, view, offset)
        if (reply.outcome !== Entries.Outcome.provisional) {
          jobs.push({ computationId, number: reply.jobId, reply, lost: "" })
        }
      }
      return jobs
    }
    case "KeptLost":
      return event.jobIds.map((number) => ({
        computationId: event.computationId,
        number,
        reply: undefined,
        lost: event.reason
      }))
    case "KeptFile":
      return []
  }
}

const ask = Effect.fnUntraced(function*(
  file: RecoverFile.RecoverFile,
  name: string,
  node: RecoverFile.Node,
  timeoutMillis: number
) {
  const link = yield* NodeLink
  const jobs = new Map<string, ExplainJobs.ToldJob>()
  let hasAnswered = false
  const told = link.connect(RecoverFile.target(node)).pipe(
    Effect.flatMap((connection) =>
      connection.recover(RecoverFile.keyOf(file, node)!, false).pipe(
        Stream.runForEach((event) =>
          Effect.sync(() => {
            hasAnswered = true
            // What is told last of a job counts.
            for (const job of jobsOf(event)) jobs.set(`${job.number} ${job.computationId}`, job)
          })
        )
      )
    ),
    Effect.scoped,
    // One whose jobs run tells all that it has at once, and then waits for them.
    Effect.timeoutOption(timeoutMillis)
  )
  const result = yield* Effect.result(told)
  if (result._tag === "Success") {
    const isSilent = !hasAnswered
    const reason = isSilent ? `it did not answer within ${timeoutMillis} ms` : ""
    return { name, state: isSilent ? "silent" as const : "told" as const, reason, jobs: [...jobs.values()] }
  }
  const { failure } = result
  const state = failure._tag !== "NothingKept" ? "silent" as const : failure.isInUse === true ? "connected" : "empty"
  const reason = failure._tag === "VersionMismatch" ? failure.message : failure.reason
  return { name, state, reason, jobs: [] } satisfies ExplainJobs.ToldNode
})

/** What all nodes of a file keep, each within the time. */
export const askAll = (
  file: RecoverFile.RecoverFile,
  timeoutMillis: number
): Effect.Effect<ReadonlyArray<ExplainJobs.ToldNode>, never, NodeLink> =>
  Effect.forEach([...file.nodes], ([name, node]) => ask(file, name, node, timeoutMillis), {
    concurrency: "unbounded"
  })
