/** What the owner of a node can see of it and do with it while it runs: on the console, by the clock, by counting. */
import { Context, type Effect } from "effect"

/** A computation that is open on a node. */
export interface ReportedComputation {
  readonly name: string
  readonly clientName: string
  readonly running: number
  readonly waiting: number
}

/** A client that holds a node. */
export interface ReportedClient {
  readonly name: string
  /** False while its connection is broken and its lease runs out. */
  readonly isConnected: boolean
}

/** How a node is doing. */
export interface NodeReport {
  /** Slots that run jobs now, at most: 0 while it takes no jobs. */
  readonly cpus: number
  /** Slots that it offers when it takes jobs. */
  readonly chosenCpus: number
  /** Why it takes no jobs; empty when it does. */
  readonly closedBecause: string
  /** Why it takes no clients any more; empty when it does. */
  readonly endingBecause: string
  /** When it started, in milliseconds since 1970. */
  readonly startedAt: number
  readonly clients: ReadonlyArray<ReportedClient>
  readonly computations: ReadonlyArray<ReportedComputation>
  /** Computations that were opened since the start. */
  readonly opened: number
  readonly jobsDone: number
  /** Time spent on jobs, over all slots. */
  readonly cpuMillis: number
}

export class NodeOwner extends Context.Service<NodeOwner, {
  readonly report: Effect.Effect<NodeReport>
  /** Offers this many slots. Jobs that run go on; clients are told. */
  readonly setCpus: (cpus: number) => Effect.Effect<void>
  /** The owner wants no jobs started; what has not started goes back to the clients. */
  readonly stop: Effect.Effect<void>
  /** The owner wants jobs again. */
  readonly start: Effect.Effect<void>
  /** The service hours begin or end; the same again changes nothing. */
  readonly setInHours: (isInHours: boolean) => Effect.Effect<void>
  /** Ends the leases of clients whose connection is broken, without waiting for them; succeeds with their names. */
  readonly release: Effect.Effect<ReadonlyArray<string>>
  /** Takes no client any more that does not have the node already, and says why. */
  readonly refuseClients: (reason: string) => Effect.Effect<void>
  /** Waits until no client has the node. */
  readonly untilFree: Effect.Effect<void>
  /** Waits until a client has shut the node down; succeeds with its name. The node is to end when it is free. */
  readonly untilShutDown: Effect.Effect<string>
  /** Waits until as many computations as the node is to serve were opened and closed; for ever if that is unlimited. */
  readonly untilServed: Effect.Effect<void>
}>()("dispy/services/NodeOwner") {}
