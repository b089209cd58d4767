/** What users ask of single nodes: the `NodeControl` of a computation over the members of a scheduler. */
import { Deferred, Effect } from "effect"
import type { DispyNode } from "../../domain/DispyNode.ts"
import * as SessionJobs from "../../domain/node/SessionJobs.ts"
import { NodeUnreachable } from "../../domain/NodeError.ts"
import * as NodeList from "../../domain/NodeList.ts"
import type { NodeControl } from "../../services/Scheduler.ts"
import * as Member from "./Member.ts"
import type * as NodeSupervisor from "./NodeSupervisor.ts"
import * as Seater from "./Seater.ts"

/** What steering needs of the scheduler. */
export interface Fleet {
  readonly members: Map<string, Member.Member>
  /** Dials the nodes that these entries name, and looks for those that they mean. */
  readonly look: (targets: ReadonlyArray<NodeList.NodeTarget>) => Effect.Effect<void>
}

/** Offers a computation to a member, connected or not. */
export const offer = (member: Member.Member, roll: Member.Roll): void => {
  member.offer(roll)
  member.reconsider.openUnsafe()
}

/** The members that a computation has to do with: those that its list names, and those that it means and that answered. */
export const nodesOf = (
  fleet: Fleet,
  roll: Member.Roll,
  env: Seater.Environment
): ReadonlyArray<DispyNode> => {
  const { id } = roll.request.computation
  const isConcerned = (member: Member.Member): boolean => {
    const isNamed = roll.rules.some(({ target }) =>
      target._tag !== "Pattern" && NodeList.format(target) === member.address
    )
    if (isNamed) return true
    const isAnswering = member.info !== undefined && (member.state !== "missing" || member.isListed)
    return isAnswering && member.seatings.get(id)?.state !== "unmatched" &&
      roll.rules.some(({ target }) => NodeList.matches(target, Member.placeOf(member)))
  }
  return [...fleet.members.values()].filter(isConcerned).map((member) => Member.nodeOf(member, id, env.engine))
}

/** The control of a computation's nodes. */
export const make = (fleet: Fleet, roll: Member.Roll, env: NodeSupervisor.Environment): NodeControl => {
  const { engine } = env
  const { id } = roll.request.computation
  const at = (address: string) => {
    const member = fleet.members.get(address)
    return member === undefined ? undefined : { member, seating: Member.seatingOf(member, roll) }
  }

  const isInUse = ({ seatings }: Member.Member): boolean =>
    [...seatings.values()].some(({ state }) => state === "ready" || state === "opening" || state === "closing")

  const allocate: NodeControl["allocate"] = (rules) =>
    Effect.suspend(() => {
      roll.rules = [...rules, ...roll.rules]
      for (const member of fleet.members.values()) {
        if (!rules.some(({ target }) => NodeList.matches(target, Member.placeOf(member)))) continue
        const seating = Member.seatingOf(member, roll)
        const isBenched = (Member.seatOf(member, id, engine)?.benched ?? "") !== ""
        const isAgain = seating.isClosed || seating.isDeallocated || isBenched
        seating.isClosed = false
        seating.isDeallocated = false
        seating.chosenCpus = undefined
        if (seating.state !== "ready" || member.node === undefined) {
          offer(member, roll)
          continue
        }
        const place = { nodeId: member.node.id, computationId: id }
        if (Member.decide(member, seating)) {
          engine.post({ _tag: "SeatLimited", ...place, cpus: Member.cpusOf(member, seating) })
        }
        seating.state = "ready"
        if (isAgain) engine.post({ _tag: "SeatAllocated", ...place, isAllocated: true })
      }
      return fleet.look(rules.map(({ target }) => target))
    })

  const deallocate: NodeControl["deallocate"] = (address) =>
    Effect.sync(() => {
      const found = at(address)
      if (found === undefined) return
      found.seating.isDeallocated = true
      const { node } = found.member
      if (node === undefined) return
      engine.post({ _tag: "SeatAllocated", nodeId: node.id, computationId: id, isAllocated: false })
    })

  const close: NodeControl["close"] = (address, isTerminating) =>
    Effect.suspend(() => {
      const found = at(address)
      if (found === undefined) return Effect.void
      const { member, seating } = found
      seating.isClosed = true
      const how = { reason: "closeNode was called", isTerminating, keepsPinned: false }
      return Seater.close(member, seating, env, how).pipe(
        Effect.andThen(Effect.sync(() => {
          seating.reason = how.reason
          if (member.node === undefined || seating.state !== "closing") seating.state = "closed"
          if (!isInUse(member)) member.release()
        }))
      )
    })

  const resetup: NodeControl["resetup"] = (address, isTerminating) =>
    Effect.gen(function*() {
      const found = at(address)
      if (found === undefined) return
      const { member, seating } = found
      seating.isClosed = false
      if (seating.state === "ready" || seating.state === "opening") {
        yield* Seater.close(member, seating, env, {
          reason: "resetupNode was called",
          isTerminating,
          keepsPinned: true
        })
      }
      if (seating.isClosed) return
      seating.state = "waiting"
      offer(member, roll)
      // A node that is not connected opens the computation when it is.
      if (member.node !== undefined && seating.opened !== undefined && isInUse(member)) {
        yield* Deferred.await(seating.opened)
      }
    })

  const setCpus: NodeControl["setCpus"] = (address, wanted) =>
    Effect.sync(() => {
      const found = at(address)
      if (found === undefined || found.member.info === undefined) return undefined
      const { member, seating } = found
      const before = Member.cpusOf(member, seating)
      const cpus = NodeList.changedCpus(wanted, member.info!.cpus, before)
      seating.chosenCpus = cpus
      if (member.node !== undefined) {
        engine.post({ _tag: "SeatLimited", nodeId: member.node.id, computationId: id, cpus })
      }
      return cpus
    })

  const idOf: NodeControl["idOf"] = (address) => {
    const found = at(address)
    if (found === undefined) return undefined
    const { state } = found.seating
    return state === "ready" || state === "opening" ? found.member.node?.id : undefined
  }

  const jobs: NodeControl["jobs"] = (address) => {
    const nodeId = fleet.members.get(address)?.node?.id
    const running = engine.state.computations.get(id)?.running.values() ?? []
    return [...running].filter((job) => job.nodeId === nodeId)
  }

  const askJobs: NodeControl["askJobs"] = (address) =>
    Effect.suspend(() => {
      const node = fleet.members.get(address)?.node
      if (node === undefined) return Effect.succeed(SessionJobs.none)
      return node.connection.jobs(node.leaseId, id).pipe(
        Effect.catchTag("NotLeased", (error) => Effect.fail(new NodeUnreachable({ address, reason: error.message })))
      )
    })

  const shutDown: NodeControl["shutDown"] = (address) =>
    Effect.suspend(() => {
      const node = fleet.members.get(address)?.node
      if (node === undefined) return Effect.fail(new NodeUnreachable({ address, reason: "it is not connected" }))
      return node.connection.shutDown(node.leaseId).pipe(
        Effect.catchTag("NotLeased", (error) => Effect.fail(new NodeUnreachable({ address, reason: error.message })))
      )
    })

  return { allocate, discover: fleet.look, deallocate, close, resetup, setCpus, idOf, jobs, askJobs, shutDown }
}
