/**
 * Why a job is not running, or what became of it: what users ask when something
 * waits. A function over what the scheduler knows, without I/O, so that every
 * scheduler gives the same answer.
 */
import type { DispyNode, NodeState } from "../DispyNode.ts"
import { hasEnded, type JobRecord, type JobStatus } from "./JobRecord.ts"

/** What is known when a job is asked about. */
export interface Facts {
  /** What users call the job. */
  readonly jobId: string
  readonly job: Pick<JobRecord, "status" | "nodeId" | "pinnedTo" | "cancelReason" | "attempt">
  /** What the job ended with, in a sentence; empty when it returned something or has not ended. */
  readonly error: string
  /** Address of the node that has the job or had it last; empty for none. */
  readonly nodeAddress: string
  /** Address of the node that the job is pinned to; empty for none. */
  readonly pinnedAddress: string
  /** Jobs that go before it, of those that wait with it. */
  readonly ahead: number
  /** The nodes of the cluster. */
  readonly nodes: ReadonlyArray<DispyNode>
  /** Its attempts without a result. Default none. */
  readonly attempts?: ReadonlyArray<AttemptExplanation>
  /** How long it waits before it is tried again, in milliseconds; absent when it does not. */
  readonly retryMillis?: number | undefined
}

/** Why a job is where it is. */
export type ExplanationCode =
  /** It has its outcome. */
  | "Ended"
  /** A node has it. */
  | "OnNode"
  /** Nodes take jobs, and all their slots have some. */
  | "NoFreeSlot"
  /** Nodes may take it in a moment. */
  | "Connecting"
  /** The cluster knows of no node. */
  | "NoNodes"
  /** No node takes jobs now; each says why. */
  | "NoUsableNode"
  /** It is tried again in a while. */
  | "WaitingForRetry"
  /** Everything failed at once at the node that it is pinned to, which gets a single job now and then. */
  | "NodeBenched"
  /** The node that it is pinned to takes no jobs now. */
  | "PinnedNodeUnusable"
  /** The node that it is pinned to is not there any more. */
  | "PinnedNodeGone"

/** Why a node does not run the job. */
export interface NodeExplanation {
  readonly address: string
  readonly state: NodeState
  readonly reason: string
}

/** An attempt of the job that ended without a result. */
export interface AttemptExplanation {
  /** From 1. */
  readonly attempt: number
  /** Address of the node where it was. */
  readonly node: string
  /** Milliseconds since 1970 by the node's clock; 0 where it is not known, because the node was lost. */
  readonly startTime: number
  readonly endTime: number
  /** What went wrong, in a sentence. */
  readonly reason: string
}

/** Why a job is not running, or what became of it. */
export interface Explanation {
  readonly jobId: string
  readonly status: JobStatus
  readonly code: ExplanationCode
  /** All of it in a sentence or two. */
  readonly text: string
  /** What every node that the job could run on is doing about it; empty for a job that has ended. */
  readonly nodes: ReadonlyArray<NodeExplanation>
  /** Its attempts that ended without a result, oldest first: the last ten or so. */
  readonly attempts: ReadonlyArray<AttemptExplanation>
  /** How long it waits before it is tried again, in milliseconds; undefined when it does not. */
  readonly retryMillis: number | undefined
}

const plural = (count: number, thing: string): string => `${count} ${thing}${count === 1 ? "" : "s"}`

/** Why a node does not take a job now. */
const reasonOf = (node: DispyNode): string => {
  switch (node.state) {
    case "ready":
      if (node.cpus === 0) return "the cluster may use none of its cpus (setNodeCpus)"
      return `has ${plural(node.busy, "job")} on ${plural(node.cpus, "cpu")}`
    case "connecting":
      return node.reason === "" ? "has not answered yet" : `is ${node.reason}`
    case "missing":
      return `is not reached: ${node.reason}`
    case "busy":
      return node.reason
    case "unused":
      return `is not used: ${node.reason}`
    case "refused":
      return `does not take the computation: ${node.reason}`
    case "deallocated":
      return "gets no jobs of this cluster: deallocateNode was called"
    case "benched":
      return `is benched: ${node.reason}; it gets a single job now and then, and is used at once after allocateNode`
    case "leaving":
      return `is leaving: ${node.reason}`
    case "closing":
    case "closed":
      return `was left: ${node.reason}`
  }
}

const isUsable = (node: DispyNode): boolean => node.state === "ready" && node.cpus > 0

const listed = (nodes: ReadonlyArray<NodeExplanation>): string =>
  nodes.map((node) => `${node.address} ${node.reason}`).join("; ")

const ended = ({ error, job, nodeAddress }: Facts): string => {
  const where = nodeAddress === "" ? "" : ` on ${nodeAddress}`
  if (error !== "") return error
  return job.status === "Finished" ? `it returned a result${where}` : `it ended as ${job.status}${where}`
}

/** What came before, for a job that is not at its first attempt. */
const before = ({ attempts = [], job }: Facts): string => {
  const last = attempts.at(-1)
  if (last !== undefined) {
    return `it was tried ${plural(last.attempt, "time")} without a result (the last time: ${last.reason}); `
  }
  return job.attempt === 0 ? "" : `it was given back or its node was lost after attempt ${job.attempt}; `
}

const waiting = (facts: Facts, nodes: ReadonlyArray<NodeExplanation>): readonly [ExplanationCode, string] => {
  const { ahead, job, pinnedAddress } = facts
  const line = ahead === 0
    ? "it is next"
    : `${plural(ahead, "job")} of the cluster ${ahead === 1 ? "is" : "are"} before it`
  const again = before(facts)
  if (facts.retryMillis !== undefined) {
    return ["WaitingForRetry", `${again}it is tried again in ${(facts.retryMillis / 1000).toFixed(1)} s`]
  }
  if (job.pinnedTo !== "") {
    const pinned = facts.nodes.find((node) => node.address === pinnedAddress)
    if (pinned === undefined) return ["PinnedNodeGone", `${again}it is pinned to a node that is not there any more`]
    const why = `${again}it is pinned to ${pinned.address}, which ${reasonOf(pinned)}`
    if (pinned.state === "benched") return ["NodeBenched", why]
    return isUsable(pinned) ? ["NoFreeSlot", `${why}; ${line}`] : ["PinnedNodeUnusable", why]
  }
  if (facts.nodes.length === 0) {
    return ["NoNodes", `${again}the cluster knows of no node: start dispynode, list its host, or call allocateNode`]
  }
  if (facts.nodes.some(isUsable)) return ["NoFreeSlot", `${again}no slot is free, ${line}: ${listed(nodes)}`]
  if (facts.nodes.some((node) => node.state === "connecting")) {
    return ["Connecting", `${again}no node is ready yet: ${listed(nodes)}`]
  }
  return ["NoUsableNode", `${again}no node takes it: ${listed(nodes)}`]
}

/** The attempts of a job that had several. */
const attemptsText = ({ attempts = [], job }: Facts): string => {
  if (attempts.length === 0 || (attempts.length === 1 && job.status !== "Finished")) return ""
  const all = attempts.map(({ attempt, node, reason }) => `${attempt} on ${node}: ${reason}`)
  return `; attempts without a result: ${all.join("; ")}`
}

/** Why the job is not running, or what became of it. */
export const explain = (facts: Facts): Explanation => {
  const { job, jobId } = facts
  const { attempts = [], retryMillis } = facts
  const head = { jobId, status: job.status, attempts, retryMillis }
  if (hasEnded(job)) {
    const text = `job ${jobId} has ended: ${ended(facts)}${attemptsText(facts)}`
    return { ...head, code: "Ended", text, nodes: [] }
  }
  const relevant = job.pinnedTo === ""
    ? facts.nodes
    : facts.nodes.filter((node) => node.address === facts.pinnedAddress)
  const nodes = relevant.map((node): NodeExplanation => ({
    address: node.address,
    state: node.state,
    reason: reasonOf(node)
  }))
  if (job.status !== "Created") {
    const why = job.cancelReason === "" ? "" : `; it is being ended: ${job.cancelReason}`
    const text = `job ${jobId} is with node ${facts.nodeAddress}, where it runs or is next${why}`
    return { ...head, code: "OnNode", text, nodes }
  }
  const [code, text] = waiting(facts, nodes)
  return { ...head, code, text: `job ${jobId} waits: ${text}`, nodes }
}
