/** What happens to nodes, as a test wants it: they die, stand still, cannot be reached, and come back. */
import { Context, type Duration, type Effect } from "effect"
import type { InvalidOption } from "../domain/ClusterError.ts"
import type { NodeBusy } from "../domain/NodeError.ts"
import type { JobPassed, TestNodeDead, TestNodeError, UnknownTestNode } from "../domain/testing/TestNodeError.ts"
import type { TestNodeOptions } from "../domain/testing/TestNodePlan.ts"

/** A node of a test, as it is now. */
export interface TestNode {
  readonly name: string
  /** Its address. */
  readonly ipAddr: string
  readonly cpus: number
  readonly state: "running" | "frozen" | "dead"
  /** Which way messages do not get through. */
  readonly partition: "none" | PartitionDirection
  /** Jobs whose function has been called and whose end was not told. */
  readonly running: number
}

/** Which way messages do not get through, seen from the clusters. */
export type PartitionDirection = "both" | "toNode" | "fromNode"

/** A job of a cluster, of either API. */
export interface WatchedJob {
  readonly number: number
  readonly status: string
  readonly ipAddr: string | undefined
  readonly result: Effect.Effect<unknown, unknown> | (() => Promise<unknown>)
}

/**
 * The nodes of a test, and what happens to them. Verbs that name a node fail with `UnknownTestNode` or `TestNodeDead`;
 * doing again what is done already changes nothing. What clusters make of it takes time on the clock of the test: a
 * connection is made again after up to 50 ms, silence is noticed after two and a half pulses, and given up after five.
 */
export class Faults extends Context.Service<Faults, {
  /** All nodes that there ever were, in the order of their start. */
  readonly nodes: Effect.Effect<ReadonlyArray<TestNode>>
  /** Starts another node; clusters that list its name, a pattern, or nothing take it. */
  readonly start: (node: string | TestNodeOptions) => Effect.Effect<void, InvalidOption>
  /**
   * Kills the node: its connections are reset, its jobs and all that it knows are gone, and nobody listens at its address
   * until `restart`. A function that runs cannot be stopped: its `dispy.signal` aborts, and what it does then nobody hears.
   */
  readonly kill: (node: string) => Effect.Effect<void, UnknownTestNode>
  /** Starts the node anew, killing it first if it runs. Faults of its network stay. */
  readonly restart: (node: string) => Effect.Effect<void, UnknownTestNode>
  /**
   * Stops the node as SIGSTOP does: connections stay open, but it answers nothing and starts nothing until `thaw`; what
   * was sent to it meanwhile it does then, and what it had to say it says then. Functions that run go on.
   */
  readonly freeze: (node: string) => Effect.Effect<void, TestNodeError>
  readonly thaw: (node: string) => Effect.Effect<void, TestNodeError>
  /** Lets no message through, and tells nobody, until `heal`; what is under way arrives then. Default "both" ways. */
  readonly partition: (node: string, direction?: PartitionDirection) => Effect.Effect<void, UnknownTestNode>
  /** Ends `partition`, `delay` and `duplicate` of the node, or of all. */
  readonly heal: (node?: string) => Effect.Effect<void, UnknownTestNode>
  /** Resets the connections of the node, which goes on: clusters connect again and miss nothing. */
  readonly drop: (node: string) => Effect.Effect<void, TestNodeError>
  /** Every message from and to the node takes this long from now on. */
  readonly delay: (node: string, time: Duration.Input) => Effect.Effect<void, UnknownTestNode>
  /** Jobs, cancellations and replies reach their destination twice, until `heal`. */
  readonly duplicate: (node: string) => Effect.Effect<void, UnknownTestNode>
  /**
   * Jobs of the node run, but it keeps to itself how they ended, until `release`: a job is "executed, and nobody knows" in
   * between, which is when to `kill` the node. A cancelled one ends as cancelled.
   */
  readonly hold: (node: string) => Effect.Effect<void, UnknownTestNode>
  readonly release: (node: string) => Effect.Effect<void, UnknownTestNode>
  /** Has another client take the node, as soon as it is free, until `vacate`. Fails with `NodeBusy` while a cluster has it. */
  readonly occupy: (node: string) => Effect.Effect<void, TestNodeError | NodeBusy>
  readonly vacate: (node: string) => Effect.Effect<void, UnknownTestNode>
  /**
   * Waits until so many jobs run on the node at the same time, their function called and their end not told. For programs
   * that keep their jobs to themselves; with `hold` it is sure to come. Default 1.
   */
  readonly awaitBusy: (node: string, jobs?: number) => Effect.Effect<void, UnknownTestNode>
  /** Waits until the job was sent to a node; succeeds with the node's name. */
  readonly awaitPlaced: (job: WatchedJob) => Effect.Effect<string, JobPassed>
  /** Waits until a node has called the job's function, and the end was not told; succeeds with the node's name. */
  readonly awaitRunning: (job: WatchedJob) => Effect.Effect<string, JobPassed>
}>()("dispy/services/Faults") {}

/** Why a verb failed. */
export type FaultsError = UnknownTestNode | TestNodeDead | JobPassed | NodeBusy | InvalidOption
