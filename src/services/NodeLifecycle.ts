/** What the listener and the program tell a node's server about connections and about its end. */
import { Context, type Duration, type Effect } from "effect"

export class NodeLifecycle extends Context.Service<NodeLifecycle, {
  /**
   * A connection is gone. When it was the last of the client that holds the node, its lease ends a while later,
   * unless the client is back by then.
   */
  readonly disconnected: (connection: number) => Effect.Effect<void>
  /**
   * Ends the node gently: takes no more jobs, gives back those that did not start, tells the client, and waits until
   * the running ones are done and their replies are with the client, at most `grace`. Succeeds with the number of
   * jobs that still run.
   */
  readonly drain: (grace: Duration.Input) => Effect.Effect<number>
}>()("dispy/services/NodeLifecycle") {}
