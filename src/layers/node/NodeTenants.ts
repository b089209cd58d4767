/**
 * Who has a node and what it does for them: one value for the handlers of the
 * protocol, the timers, the node's owner and its end.
 */
import { Deferred, Effect, type Scope } from "effect"
import * as Availability from "../../domain/node/Availability.ts"
import * as Leases from "../../domain/node/Leases.ts"
import * as LeaseSession from "./LeaseSession.ts"

/** A lease of the node with what is kept for it. All leases there are belong to one client. */
export interface Tenant {
  readonly sessionId: string
  leases: Leases.Leases
  session: LeaseSession.LeaseSession | undefined
  /** When its client was last heard before its connection broke, in milliseconds of a clock that does not jump. */
  goneAt: number
  /** Done when the lease is closed. */
  readonly freed: Deferred.Deferred<void>
}

/** The node's state. */
export interface NodeTenants {
  /** By session. */
  readonly tenants: Map<string, Tenant>
  /** Connections that said Hello in our protocol. */
  readonly greeted: Set<number>
  readonly tally: LeaseSession.Tally
  readonly startedAt: number
  /** Computations to be served before the node ends; negative for any number. */
  readonly serve: number
  /** Computations that were opened, or are being opened. */
  opened: number
  /** Computations that are being opened. */
  opening: number
  /** Slots to be offered while the node takes jobs. */
  chosenCpus: number
  availability: Availability.Availability
  /** Why no more clients are taken; empty when they are. */
  endingBecause: string
  isDraining: boolean
  /** Done when a client shut the node down. */
  readonly shutdown: Deferred.Deferred<string>
  /** Told when a computation or a lease is gone. */
  readonly watchers: Set<() => void>
}

/** A node that nobody has. */
export const make = (options: Pick<NodeTenants, "serve" | "startedAt"> & { readonly cpus: number }): NodeTenants => ({
  tenants: new Map(),
  greeted: new Set(),
  tally: { jobsDone: 0, jobMicros: 0, cpuChanges: 0 },
  startedAt: options.startedAt,
  serve: options.serve,
  opened: 0,
  opening: 0,
  chosenCpus: options.cpus,
  availability: Availability.initial,
  endingBecause: "",
  isDraining: false,
  shutdown: Deferred.makeUnsafe(),
  watchers: new Set()
})

/** What is kept for the leases there are. */
export const sessionsOf = (state: NodeTenants): ReadonlyArray<LeaseSession.LeaseSession> =>
  [...state.tenants.values()].flatMap((tenant) => tenant.session ?? [])

/** Whether a lease is another client's. */
export const isOthers = (state: NodeTenants, clientId: string): boolean => {
  for (const { leases } of state.tenants.values()) {
    if (leases._tag !== "Free" && leases.holder.clientId !== clientId) return true
  }
  return false
}

/** Whether the client has the node. */
export const isHolder = (state: NodeTenants, clientId: string): boolean => {
  for (const { leases } of state.tenants.values()) {
    if (leases._tag === "Held" && leases.holder.clientId === clientId) return true
  }
  return false
}

/** The tenant of a session, a new one if need be. */
export const tenantOf = (state: NodeTenants, sessionId: string): Tenant => {
  let tenant = state.tenants.get(sessionId)
  if (tenant === undefined) {
    tenant = { sessionId, leases: Leases.free, session: undefined, goneAt: 0, freed: Deferred.makeUnsafe() }
    state.tenants.set(sessionId, tenant)
  }
  return tenant
}

/** Tells those who wait for something of the node to end. */
export const tell = (state: NodeTenants): Effect.Effect<void> =>
  Effect.sync(() => {
    for (const watcher of state.watchers) watcher()
  })

/** Waits until this holds. */
export const until = (state: NodeTenants, holds: () => boolean): Effect.Effect<void> =>
  Effect.callback<void>((resume) => {
    const look = (): void => {
      if (holds()) resume(Effect.void)
    }
    state.watchers.add(look)
    look()
    return Effect.sync(() => state.watchers.delete(look))
  })

/** Has the node end when its clients have gone. */
export const shutDown = (state: NodeTenants, clientName: string): Effect.Effect<void> =>
  Effect.gen(function*() {
    state.endingBecause = `${clientName} shut it down`
    yield* Effect.logInfo("a client shuts the node down").pipe(Effect.annotateLogs({ clientName }))
    yield* Deferred.succeed(state.shutdown, clientName)
  })

/** Why the node takes no more computations; empty when it does. */
export const refusal = (state: NodeTenants): string =>
  state.serve >= 0 && state.opened >= state.serve
    ? `the node was started to serve ${state.serve === 1 ? "one computation" : `${state.serve} computations`}, has` +
      " taken them and is ending"
    : ""

/** Counts a computation while it is opened, and for good when it is. */
export const counted = <A, E>(state: NodeTenants, opening: Effect.Effect<A, E>): Effect.Effect<A, E> =>
  Effect.suspend(() => {
    state.opened++
    state.opening++
    return opening
  }).pipe(
    Effect.onExit((exit) => {
      state.opening--
      if (exit._tag === "Failure") state.opened--
      return tell(state)
    })
  )

/** Whether all computations that the node is to serve were opened and closed again. */
export const isServed = (state: NodeTenants): boolean =>
  state.serve >= 0 && state.opened >= state.serve && state.opening === 0 &&
  sessionsOf(state).every((session) => session.computations.size === 0)

/** The end of a lease: closes what runs under it, then frees the node of it. */
export const makeCloser = (
  state: NodeTenants,
  scope: Scope.Scope,
  /** Called when what runs under a lease has ended, before the node is free of it. */
  afterwards: (leaseId: string, why: string) => Effect.Effect<void>
) =>
  Effect.fnUntraced(function*(tenant: Tenant, next: Leases.Leases, why: string) {
    const isNewlyClosing = next._tag === "Closing" && (tenant.leases._tag === "Held" || tenant.leases._tag === "Orphan")
    tenant.leases = next
    if (next._tag !== "Closing") return
    if (isNewlyClosing) {
      const { clientName } = next.holder
      // In the node's scope: whoever asked may be gone before the last process is.
      yield* LeaseSession.close(tenant.session!).pipe(
        Effect.andThen(afterwards(tenant.session!.leaseId, why)),
        Effect.andThen(Effect.suspend(() => {
          state.tenants.delete(tenant.sessionId)
          return Deferred.succeed(tenant.freed, undefined)
        })),
        Effect.andThen(tell(state)),
        Effect.andThen(Effect.logDebug("a lease ended")),
        Effect.annotateLogs({ clientName, why }),
        Effect.forkIn(scope)
      )
    }
    yield* Deferred.await(tenant.freed)
  })

/** See `makeCloser`. */
export type Closer = ReturnType<typeof makeCloser>
