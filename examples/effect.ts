/** The Effect API: a cluster is a scoped resource, a job's result an effect, `map` a stream. */
import { NodeRuntime } from "@effect/platform-node"
import { JobCluster } from "dispy"
import { Console, Effect, Stream } from "effect"

/** Runs on the nodes. */
const collatz = (start: number): number => {
  let steps = 0
  for (let n = start; n !== 1; n = n % 2 === 0 ? n / 2 : 3 * n + 1) steps++
  return steps
}

/** A job that would never end by itself. */
const forever = (): void => {
  for (;;);
}

const program = Effect.gen(function*() {
  const cluster = yield* JobCluster.make(collatz, { nodes: ["local"] })

  // One job. Interrupting the fiber would kill it on its node.
  yield* Console.log(`27 takes ${yield* cluster.run(27)} steps`)

  // A stream of results, in order, in constant memory.
  const longest = yield* cluster.map(Stream.range(1, 100_000)).pipe(
    Stream.runFold(() => 0, (most, steps) => Math.max(most, steps))
  )
  yield* Console.log(`the longest way from below 100,000 takes ${longest} steps`)

  // Time out: the job is interrupted, and its process gone before the next line.
  const stuck = yield* JobCluster.make(forever, { nodes: ["local"], grace: "100 millis" })
  const outcome = yield* stuck.run().pipe(
    Effect.timeoutOption("500 millis")
  )
  yield* Console.log(`forever: ${outcome._tag === "None" ? "interrupted after half a second" : "ended?"}`)

  // Errors are typed: a timeout of the cluster's own comes as JobTimedOut.
  yield* stuck.with({ timeout: "200 millis" }).run().pipe(
    Effect.catchTag("JobTimedOut", (error) => Console.log(error.message))
  )
}).pipe(Effect.scoped)

NodeRuntime.runMain(program)
