/**
 * A node that a scheduler knows, and what each of its computations has there.
 * Data that the supervisor changes and others look at; what a user decided about
 * a node outlives its connections.
 */
import { Deferred, type Effect, Latch } from "effect"
import { type DispyNode, nothingTransferred, type Transferred } from "../../domain/DispyNode.ts"
import * as NodeAddress from "../../domain/NodeAddress.ts"
import type { CannotStart, ComputationRefused } from "../../domain/NodeError.ts"
import type { NodeInfo } from "../../domain/NodeInfo.ts"
import * as NodeList from "../../domain/NodeList.ts"
import type { Seat } from "../../domain/scheduler/SchedulerState.ts"
import type { SchedulerRequest } from "../../services/Scheduler.ts"
import type { ConnectedNode } from "./ConnectedNode.ts"
import type { Engine } from "./Engine.ts"

/** A computation and the entries of its node list. */
export interface Roll {
  readonly request: SchedulerRequest
  /** Grows with `allocateNode`; among equally specific entries the first is asked first. */
  rules: ReadonlyArray<NodeList.NodeRule>
}

/** A computation on a member. */
export interface Seating {
  readonly roll: Roll
  /** `unmatched`: no entry of the list is for this node, which is none of the cluster's business. */
  state: "waiting" | "opening" | "ready" | "refused" | "unused" | "unmatched" | "closing" | "closed"
  reason: string
  refusal: ComputationRefused | undefined
  /** What the node list gave of the node. */
  allocation: NodeList.Allocation
  /** What `setNodeCpus` said; it goes before what the list says. */
  chosenCpus: number | undefined
  isDeallocated: boolean
  /** Until it is allocated again. */
  isClosed: boolean
  /** What of its files went to the node. */
  transferred: Transferred
  /** Done when the opening that is under way has succeeded or failed. */
  opened: Deferred.Deferred<void, ComputationRefused>
}

/** A node that is listed, or was found. */
export type Target = NodeAddress.NodeEntry | NodeAddress.ParkedAddress

/** What members are told apart by, as users write it. */
export const addressOf = (target: Target): string => target._tag === "Local" ? "local" : NodeAddress.format(target)

/** A node that the scheduler knows: from a list, or found. */
export interface Member {
  readonly target: Target
  readonly address: string
  /** Somebody asked for this very node: its absence is worth a warning. */
  isListed: boolean
  /** Listed beside patterns, so that it may be a relay, which tells of itself a little later than dialling it fails. */
  mayBeRelay: boolean
  /** The name in a list that has its address among others; empty for none. */
  listedAs: string
  /** `idle`: answered, and no computation wants it; it is not leased then. */
  state: "connecting" | "connected" | "missing" | "busy" | "idle"
  reason: string
  info: NodeInfo | undefined
  ipAddr: string
  updateTime: number
  isLeaving: boolean
  /** Why the node of this machine did not start, if it did not. */
  failure: CannotStart | undefined
  node: ConnectedNode | undefined
  /** The lease that could not be given back when the node was lost; empty for none. */
  unreleased: string
  /** Opens when an idle member may be wanted. */
  readonly reconsider: Latch.Latch
  /** By computation. */
  readonly seatings: Map<string, Seating>
  /** Decides about a computation anew and opens it if it is to be open. */
  offer: (roll: Roll) => void
  /** Runs something as long as the node is connected. */
  run: (effect: Effect.Effect<unknown>) => void
  /** Ends the session because no computation wants the node any more. */
  release: () => void
  /** Numbers of the connections before, so that a table counts a node that came back as one. */
  jobsDone: number
  busyMicros: number
  sentBytes: number
  receivedBytes: number
}

/** A node that was not tried yet. */
export const make = (target: Target, isListed: boolean): Member => ({
  target,
  address: addressOf(target),
  isListed,
  mayBeRelay: false,
  listedAs: "",
  state: "connecting",
  reason: "",
  info: undefined,
  ipAddr: "",
  updateTime: 0,
  isLeaving: false,
  failure: undefined,
  node: undefined,
  unreleased: "",
  reconsider: Latch.makeUnsafe(false),
  seatings: new Map(),
  offer: () => {},
  run: () => {},
  release: () => {},
  jobsDone: 0,
  busyMicros: 0,
  sentBytes: 0,
  receivedBytes: 0
})

const nothing: NodeList.Allocation = { cpus: 0, reason: "" }

/** What a computation has on the member. */
export const seatingOf = (member: Member, roll: Roll): Seating => {
  const { id } = roll.request.computation
  const known = member.seatings.get(id)
  if (known !== undefined) return known
  const seating: Seating = {
    roll,
    state: "waiting",
    reason: "",
    refusal: undefined,
    allocation: nothing,
    chosenCpus: undefined,
    isDeallocated: false,
    isClosed: false,
    transferred: nothingTransferred,
    opened: Deferred.makeUnsafe()
  }
  member.seatings.set(id, seating)
  return seating
}

/** Where the member is, as far as it is known. */
export const placeOf = (member: Member): NodeList.NodePlace => ({
  address: member.address,
  ipAddr: member.ipAddr,
  name: member.info?.name ?? "",
  ...(member.listedAs === "" ? {} : { listedAs: member.listedAs })
})

/** Asks the computation's node list about the member, whose greeting is known; true when it is to be used. */
export const decide = (member: Member, seating: Seating): boolean => {
  const { info } = member
  if (info === undefined) return false
  if (seating.isClosed) {
    seating.state = "closed"
    return false
  }
  const { availInfo, cpus, platform } = info
  const cluster = seating.roll.request.computation.name
  const offer = { cluster, ...placeOf(member), cpus, availInfo, platform }
  const allocation = NodeList.allocate(seating.roll.rules, offer)
  seating.allocation = allocation ?? nothing
  if (seating.allocation.cpus > 0) return true
  seating.state = allocation === undefined ? "unmatched" : "unused"
  seating.reason = seating.allocation.reason
  return false
}

/** Slots that the computation may use at the node. */
export const cpusOf = (member: Member, seating: Seating): number =>
  Math.min(seating.chosenCpus ?? seating.allocation.cpus, member.info?.cpus ?? 0)

/** What the scheduler does for a computation on the member; undefined for nothing. */
export const seatOf = (
  { node }: Member,
  computationId: string,
  { state }: Engine
): Seat | undefined => node === undefined ? undefined : state.nodes.get(node.id)?.seats.get(computationId)

const stateOf = (
  member: Member,
  seating: Seating | undefined,
  seat: Seat | undefined
): readonly [DispyNode["state"], string] => {
  if (seating?.isClosed === true) return [seating.state === "closing" ? "closing" : "closed", seating.reason]
  if (member.state === "idle" && seating?.state === "unused") return ["unused", seating.reason]
  if (member.state === "idle") return ["connecting", ""]
  if (member.state !== "connected") return [member.state, member.reason]
  switch (seating?.state) {
    case "unused":
    case "refused":
      return [seating.state, seating.reason]
    case "closing":
      return ["closing", seating.reason]
    case "ready":
      if (member.isLeaving) return ["leaving", member.reason]
      if (seating.isDeallocated) return ["deallocated", "deallocateNode was called"]
      return seat === undefined || seat.benched === "" ? ["ready", ""] : ["benched", seat.benched]
    default:
      return member.isLeaving ? ["leaving", member.reason] : ["connecting", "loading the computation"]
  }
}

/** The member as a cluster sees it. */
export const nodeOf = (member: Member, computationId: string, engine: Engine): DispyNode => {
  const seating = member.seatings.get(computationId)
  const { info, node } = member
  const seat = seatOf(member, computationId, engine)
  const [state, reason] = stateOf(member, seating, seat)
  return {
    address: member.address,
    ipAddr: member.ipAddr,
    name: info?.name ?? "",
    state,
    reason,
    cpus: state === "ready" && seating !== undefined ? cpusOf(member, seating) : 0,
    availCpus: info?.cpus ?? 0,
    busy: seat?.outstanding ?? 0,
    jobsDone: member.jobsDone + (node?.jobsDone ?? 0),
    cpuTime: (member.busyMicros + (node?.busyMicros ?? 0)) / 1000,
    sentBytes: member.sentBytes + (node?.sentBytes ?? 0),
    receivedBytes: member.receivedBytes + (node?.receivedBytes ?? 0),
    updateTime: member.updateTime,
    availInfo: info?.availInfo,
    platform: info?.platform ?? "",
    transferred: seating?.transferred ?? nothingTransferred
  }
}
