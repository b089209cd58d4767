/** Runs jobs on one node, in a cluster of its own as programs have it. */
import { Clock, Effect, type Scope } from "effect"
import type { NodeState } from "../../../domain/DispyNode.ts"
import type { JobFact } from "../../../domain/doctor/Facts.ts"
import type { GivenCredentials } from "../../../layers/security/CredentialsNode.ts"
import * as JobCluster from "../../client/JobCluster.ts"

/** How long a node may take for a job that does nothing, from the first word on. */
const trialMillis = 20_000

/** How often is looked whether the node takes the cluster at all. */
const lookInterval = "100 millis"

/** The job: the node's clock, in milliseconds since 1970. */
const tellTime = () => Date.now()

/** States in which a node will not run the job while somebody waits for it. */
const hopeless: ReadonlySet<NodeState> = new Set(["busy", "refused", "unused", "leaving", "closed"])

type Cluster = JobCluster.JobCluster<[], number>

/** One that runs, and one more, when everything is warm, to compare the clocks by. */
const runTwo = Effect.fnUntraced(function*(cluster: Cluster): Effect.fn.Return<
  JobFact,
  Effect.Error<ReturnType<Cluster["run"]>>
> {
  const start = yield* Clock.currentTimeMillis
  yield* cluster.run()
  const before = yield* Clock.currentTimeMillis
  const there = yield* cluster.run()
  const after = yield* Clock.currentTimeMillis
  return {
    _tag: "Ran",
    millis: before - start,
    clockAhead: there - (before + after) / 2,
    clockDoubt: (after - before) / 2 + 1
  }
})

/** Why the node does not run it, as soon as that is known. */
const untilHopeless = (cluster: Cluster): Effect.Effect<JobFact> =>
  Effect.suspend(() =>
    Effect.flatMap(cluster.status, ({ nodes: [node] }) => {
      if (node === undefined || !hopeless.has(node.state)) {
        return Effect.andThen(Effect.sleep(lookInterval), untilHopeless(cluster))
      }
      return Effect.succeed<JobFact>({
        _tag: node.state === "busy" ? "Busy" : "Failed",
        reason: node.reason === "" ? `it is ${node.state}` : node.reason
      })
    })
  )

const tooLate = (cluster: Cluster): Effect.Effect<JobFact> =>
  Effect.map(cluster.status, ({ nodes: [node] }): JobFact => {
    const state = node === undefined ? "" : `; it is ${node.state}${node.reason === "" ? "" : ` (${node.reason})`}`
    return { _tag: "Failed", reason: `no result within ${trialMillis / 1000} seconds${state}` }
  })

const trial = Effect.fnUntraced(function*(entry: string, credentials: GivenCredentials): Effect.fn.Return<
  JobFact,
  JobCluster.MakeError,
  Scope.Scope
> {
  const cluster = yield* JobCluster.make(tellTime, {
    nodes: entry,
    cpus: 1,
    name: "dispy doctor",
    recoverFile: false,
    secret: credentials.secret?.text,
    secretFile: credentials.secretFile?.text,
    certfile: credentials.certfile?.text,
    keyfile: credentials.keyfile?.text,
    cafile: credentials.cafile?.text
  })
  return yield* runTwo(cluster).pipe(
    Effect.catch((error) => Effect.succeed<JobFact>({ _tag: "Failed", reason: error.message })),
    Effect.raceFirst(untilHopeless(cluster)),
    Effect.timeoutOrElse({ duration: trialMillis, orElse: () => tooLate(cluster) })
  )
})

/** Runs jobs on the node of this entry of a node list. */
export const run = (entry: string, credentials: GivenCredentials): Effect.Effect<JobFact> =>
  trial(entry, credentials).pipe(
    Effect.scoped,
    Effect.catch((error) => Effect.succeed<JobFact>({ _tag: "Failed", reason: error.message }))
  )
