/** What both APIs do with single nodes of a cluster: find the one that is meant, and steer it. */
import { Effect, Result } from "effect"
import { ClusterClosed, InvalidOption, NodeNotReady, UnknownNode } from "../../domain/ClusterError.ts"
import type { DispyNode } from "../../domain/DispyNode.ts"
import type { ComputationRefused, NodeUnreachable, ShutdownRefused } from "../../domain/NodeError.ts"
import * as NodeList from "../../domain/NodeList.ts"
import * as Explain from "../../domain/scheduler/Explain.ts"
import { nearest } from "../../domain/Suggestion.ts"
import type { FileTooLarge, TransferFailed } from "../../domain/TransferError.ts"
import type * as ClusterCore from "./ClusterCore.ts"
import { type ClusterJob, nameOf } from "./ClusterJob.ts"
import * as NodeAllocate from "./NodeAllocate.ts"

/** How users call a node: a `DispyNode`, its address ("host:port"), its host name or IP address, its own name, "local". */
export type NodeRef = DispyNode | string

/** Why nothing was asked of a node. */
export type NodeMethodError = UnknownNode | ClusterClosed

/** How to leave a node. */
export interface CloseNodeOptions {
  /** End what runs there instead of waiting for it; what has not started runs elsewhere. Default false. */
  readonly terminatePending?: boolean | undefined
}

/** How to ask for a node's jobs. */
export interface NodeJobsOptions {
  /** Ask the node itself, and get only the jobs that run. Default false: all that were sent to it and not answered. */
  readonly fromNode?: boolean | undefined
}

/** How far a file is on its way to a node. */
export interface SendProgress {
  readonly path: string
  /** Address of the node. */
  readonly node: string
  readonly sentBytes: number
  readonly sizeBytes: number
}

/** How to send a file. */
export interface SendFileOptions {
  /** Called now and then while the file is sent, and when it is there. Must not throw. */
  readonly onProgress?: ((progress: SendProgress) => void) | undefined
}

/** Why a file was not sent. */
export type SendFileError = NodeMethodError | NodeNotReady | TransferFailed | FileTooLarge

/** The node that is meant. */
export const find = (core: ClusterCore.ClusterCore, node: NodeRef): Result.Result<DispyNode, NodeMethodError> => {
  if (core.isStopped()) return Result.fail(new ClusterClosed({ cluster: core.name }))
  const word = typeof node === "string" ? node : node.address
  const nodes = core.nodes()
  const found = NodeList.find(word, nodes)
  if (found._tag === "Found") return Result.succeed(found.node)
  const known = nodes.map(({ address }) => address)
  const names = nodes.flatMap(({ address, name }) => [address, name]).filter((name) => name !== "")
  return Result.fail(
    new UnknownNode({
      cluster: core.name,
      node: word,
      known,
      suggestion: nearest(word, names) ?? "",
      meanings: found._tag === "Ambiguous" ? [...found.addresses] : []
    })
  )
}

/** Submits a job that runs on this node and no other. */
export const submitNode = (
  core: ClusterCore.ClusterCore,
  ref: NodeRef,
  args: ReadonlyArray<unknown>,
  submission: ClusterCore.Submission
): Result.Result<ClusterJob, ClusterCore.SubmitError | UnknownNode | NodeNotReady> =>
  Result.flatMap(find(core, ref), (node): Result.Result<ClusterJob, ClusterCore.SubmitError | NodeNotReady> => {
    const nodeId = core.control.idOf(node.address)
    if (nodeId !== undefined) return core.submit(args, submission, nodeId)
    return Result.fail(
      new NodeNotReady({ cluster: core.name, node: node.address, state: node.state, reason: node.reason })
    )
  })

const withNode = <A, E = never>(
  core: ClusterCore.ClusterCore,
  ref: NodeRef,
  use: (address: string) => Effect.Effect<A, E>
): Effect.Effect<A, E | NodeMethodError> =>
  Effect.flatMap(Effect.suspend(() => Effect.fromResult(find(core, ref))), ({ address }) => use(address))

const isLeft = ({ state }: DispyNode): boolean => state === "deallocated" || state === "closing" || state === "closed"

/** A node that was deallocated or closed is meant by whatever it was called then, by its own name too. */
const meant = (core: ClusterCore.ClusterCore, entry: NodeAllocate.NodeListEntry): NodeAllocate.NodeListEntry => {
  const found = typeof entry === "string" ? NodeList.find(entry, core.nodes()) : undefined
  return found?._tag === "Found" && isLeft(found.node) ? found.node.address : entry
}

/** Puts entries before those of the node list, and dials what they name. */
export const allocate = (
  core: ClusterCore.ClusterCore,
  entries: NodeAllocate.NodeListEntry | ReadonlyArray<NodeAllocate.NodeListEntry>
): Effect.Effect<void, InvalidOption | ClusterClosed> =>
  Effect.gen(function*() {
    if (core.isStopped()) return yield* new ClusterClosed({ cluster: core.name })
    const listed = NodeAllocate.isList(entries) ? entries : [entries]
    const known = listed.map((entry) => meant(core, entry))
    const rules = yield* Effect.fromResult(NodeAllocate.rulesOf(known, core.nodePort))
    yield* core.control.allocate(rules.map(({ knowing }) => knowing(core.classes)))
  })

/** Looks for nodes; the node list says which of them are used. */
export const discover = (
  core: ClusterCore.ClusterCore,
  nodes: string | ReadonlyArray<string>
): Effect.Effect<void, InvalidOption | ClusterClosed> =>
  Effect.gen(function*() {
    if (core.isStopped()) return yield* new ClusterClosed({ cluster: core.name })
    const texts = typeof nodes === "string" ? [nodes] : nodes
    const targets = Result.all(texts.map((text) => NodeList.parseTarget(text, core.nodePort)))
    yield* core.control.discover(yield* Effect.fromResult(targets))
  })

/** Gives the node no new jobs. */
export const deallocate = (core: ClusterCore.ClusterCore, node: NodeRef): Effect.Effect<void, NodeMethodError> =>
  withNode(core, node, core.control.deallocate)

/** Leaves the node. */
export const closeNode = (
  core: ClusterCore.ClusterCore,
  node: NodeRef,
  options: CloseNodeOptions = {}
): Effect.Effect<void, NodeMethodError> =>
  withNode(core, node, (address) => core.control.close(address, options.terminatePending ?? false))

/** Has the node end, and leaves it. */
export const shutdownNode = (
  core: ClusterCore.ClusterCore,
  node: NodeRef,
  options: CloseNodeOptions = {}
): Effect.Effect<void, NodeMethodError | NodeUnreachable | ShutdownRefused> =>
  withNode(core, node, (address) =>
    Effect.andThen(
      core.control.shutDown(address),
      core.control.close(address, options.terminatePending ?? false)
    ))

/** Leaves the node and takes it again. */
export const resetup = (
  core: ClusterCore.ClusterCore,
  node: NodeRef,
  options: CloseNodeOptions = {}
): Effect.Effect<void, NodeMethodError | ComputationRefused> =>
  withNode(core, node, (address) => core.control.resetup(address, options.terminatePending ?? false))

/** Changes the slots that the cluster uses. */
export const setCpus = (
  core: ClusterCore.ClusterCore,
  ref: NodeRef,
  cpus: number
): Effect.Effect<number, NodeMethodError | NodeNotReady | InvalidOption> =>
  Effect.gen(function*() {
    if (!Number.isInteger(cpus)) {
      return yield* new InvalidOption({ option: "cpus", reason: `${String(cpus)} is not a whole number` })
    }
    const node = yield* Effect.fromResult(find(core, ref))
    const used = yield* core.control.setCpus(node.address, cpus)
    if (used !== undefined) return used
    return yield* new NodeNotReady({
      cluster: core.name,
      node: node.address,
      state: node.state,
      reason: node.reason
    })
  })

/** The jobs of a node, without those of `map`. */
export const jobs = (
  core: ClusterCore.ClusterCore,
  node: NodeRef,
  options: NodeJobsOptions = {}
): Effect.Effect<ReadonlyArray<ClusterJob>, NodeMethodError | NodeUnreachable> =>
  withNode(core, node, (address) => {
    const sent = core.control.jobs(address).filter((job) => core.isOwn(job as ClusterJob)) as Array<ClusterJob>
    if (options.fromNode !== true) return Effect.succeed(sent)
    return Effect.map(core.control.askJobs(address), ({ running }) => {
      const numbers = new Set(running)
      return sent.filter((job) => numbers.has(job.number))
    })
  })

/** Sends a file to the jobs' working directory on a node, under its last name. */
export const sendFile = Effect.fnUntraced(function*(
  core: ClusterCore.ClusterCore,
  path: string,
  ref: NodeRef,
  { onProgress }: SendFileOptions = {}
): Effect.fn.Return<0, SendFileError> {
  const { address, reason, state } = yield* Effect.fromResult(find(core, ref))
  if (core.control.idOf(address) === undefined) {
    return yield* new NodeNotReady({ cluster: core.name, node: address, state, reason })
  }
  const tell = onProgress === undefined
    ? undefined
    : (sentBytes: number, sizeBytes: number) => onProgress({ path, node: address, sentBytes, sizeBytes })
  yield* core.sendFile(path, address, tell)
  return 0
})

/** Why a job is not running, or what became of it. */
export const explain = (core: ClusterCore.ClusterCore, job: ClusterJob): Explain.Explanation =>
  Explain.explain({
    jobId: String(nameOf(job)),
    job,
    error: job.outcome?.error?.message ?? "",
    nodeAddress: core.addressOf(job),
    pinnedAddress: job.pinnedTo === "" ? "" : core.addressOfNode(job.pinnedTo),
    ahead: job.status === "Created" ? core.ahead(job) : 0,
    nodes: core.nodes()
  })
