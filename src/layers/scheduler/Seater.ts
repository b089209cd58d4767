/** Opens computations on a connected node, and ends them there, one by one. */
import { Deferred, Effect, type Latch } from "effect"
import { ComputationRefused } from "../../domain/NodeError.ts"
import type { SchedulerRequest } from "../../services/Scheduler.ts"
import * as DependFiles from "../computation/DependFiles.ts"
import type { ConnectedNode } from "./ConnectedNode.ts"
import type { Engine } from "./Engine.ts"
import * as FileDelivery from "./FileDelivery.ts"
import * as Member from "./Member.ts"

/** What is needed to seat computations. */
export interface Environment {
  readonly engine: Engine
  /** Opens whenever a member's state or a seating changes. */
  readonly changed: Latch.Latch
}

/** Tells the computation's client something about the node. */
export const tell = (
  member: Member.Member,
  seating: Member.Seating,
  env: Environment,
  status: "Initialized" | "Closed" | "AvailInfo"
): void => {
  const { request } = seating.roll
  request.onNode(status, () => Member.nodeOf(member, request.computation.id, env.engine))
}

const placeOf = (node: ConnectedNode, seating: Member.Seating) => ({
  nodeId: node.id,
  computationId: seating.roll.request.computation.id
})

/** The computation with the files that the node list wants on this node alone; they go before others of their names. */
const withOwnFiles = (
  member: Member.Member,
  { allocation, roll: { request } }: Member.Seating
): Effect.Effect<SchedulerRequest, ComputationRefused> => {
  const { computation, sources = [] } = request
  const paths = allocation.depends
  if (paths === undefined) return Effect.succeed(request)
  return DependFiles.gather(paths, 0).pipe(
    Effect.mapError(({ message }) =>
      new ComputationRefused({ node: member.address, computation: computation.name, reason: message })
    ),
    Effect.map((own) => {
      const { definitions = [], files = [], modules = [] } = computation.depends ?? {}
      const names = new Set(own.entries.map(({ path }) => path))
      const kept = files.flatMap((file, i) => names.has(file.path) ? [] : [[file, sources[i]!] as const])
      const depends = { definitions, modules, files: [...kept.map(([file]) => file), ...own.entries] }
      return {
        ...request,
        computation: { ...computation, depends },
        sources: [...kept.map(([, source]) => source), ...own.sources]
      }
    })
  )
}

/** Opens a computation that the node list gives some of the node. */
export const open = (
  member: Member.Member,
  node: ConnectedNode,
  seating: Member.Seating,
  env: Environment
): Effect.Effect<void> =>
  Effect.suspend(() => {
    const opened = Deferred.makeUnsafe<void, ComputationRefused>()
    seating.state = "opening"
    seating.reason = ""
    seating.opened = opened
    const isCurrent = () => member.node === node && seating.opened === opened && seating.state === "opening"
    const told = { cpus: Member.cpusOf(member, seating), isAllocated: !seating.isDeallocated }
    const setupArgs = seating.allocation.setupArgs ?? seating.roll.request.setupArgs
    const terms = { cpus: told.isAllocated ? told.cpus : 0, ...(setupArgs === undefined ? {} : { setupArgs }) }
    return withOwnFiles(member, seating).pipe(
      Effect.flatMap((request) =>
        Effect.flatMap(FileDelivery.deliver(node, request), (transferred) => {
          seating.transferred = transferred
          return node.connection.openComputation(node.leaseId, request.computation, terms)
        })
      ),
      Effect.matchEffect({
        onSuccess: () => Effect.sync(() => isCurrent() && ready(member, node, seating, env, told)),
        onFailure: (error) => {
          if (!isCurrent()) return Effect.void
          if (error._tag === "ComputationRefused") {
            const { computation: name, reason } = error
            const refused = new ComputationRefused({ node: member.address, computation: name, reason })
            return refuse(member, node, seating, env, refused)
          }
          return Effect.sync(() => node.fail(error._tag === "NodeUnreachable" ? error.reason : error.message))
        }
      }),
      Effect.ensuring(Effect.sync(() => env.changed.openUnsafe()))
    )
  })

const ready = (
  member: Member.Member,
  node: ConnectedNode,
  seating: Member.Seating,
  env: Environment,
  told: { readonly cpus: number; readonly isAllocated: boolean }
): void => {
  const place = placeOf(node, seating)
  seating.state = "ready"
  env.engine.post({ _tag: "NodeReady", ...place, ...told })
  // What users changed while the node was opening the computation.
  const [cpus, isAllocated] = [Member.cpusOf(member, seating), !seating.isDeallocated]
  if (cpus !== told.cpus) env.engine.post({ _tag: "SeatLimited", ...place, cpus })
  if (isAllocated !== told.isAllocated) env.engine.post({ _tag: "SeatAllocated", ...place, isAllocated })
  Deferred.doneUnsafe(seating.opened, Effect.void)
  tell(member, seating, env, "Initialized")
}

const refuse = (
  member: Member.Member,
  node: ConnectedNode,
  seating: Member.Seating,
  env: Environment,
  refused: ComputationRefused
): Effect.Effect<void> =>
  Effect.suspend(() => {
    seating.state = "refused"
    seating.reason = refused.reason
    seating.refusal = refused
    env.engine.post({ _tag: "NodeRefused", ...placeOf(node, seating), reason: refused.message })
    Deferred.doneUnsafe(seating.opened, Effect.fail(refused))
    tell(member, seating, env, "Closed")
    return Effect.logWarning(refused.message)
  })

/** Ends a computation on its node; succeeds when nothing of it is left there, also when the node is lost meanwhile. */
export const close = (
  member: Member.Member,
  seating: Member.Seating,
  env: Environment,
  how: { readonly reason: string; readonly isTerminating: boolean; readonly keepsPinned: boolean }
): Effect.Effect<void> =>
  Effect.suspend(() => {
    const { node } = member
    if (node === undefined) return Effect.void
    const place = placeOf(node, seating)
    const isClosing = seating.state === "ready" || seating.state === "opening"
    if (isClosing) seating.state = "closing"
    seating.reason = how.reason
    return Effect.callback<void>((resume) => {
      env.engine.onDrained(place.nodeId, place.computationId, () => resume(Effect.void))
      env.engine.post({ _tag: "SeatClosing", ...place, ...how })
    }).pipe(
      Effect.andThen(Effect.suspend(() =>
        member.node === node
          ? node.connection.closeComputation(node.leaseId, place.computationId).pipe(Effect.ignore)
          : Effect.void
      )),
      Effect.andThen(Effect.sync(() => {
        if (seating.state === "closing") {
          seating.state = "closed"
          tell(member, seating, env, "Closed")
        }
        env.changed.openUnsafe()
      }))
    )
  })
