/** What the owner sees and does of a node, over its tenants and its executor. */
import { Deferred, Effect } from "effect"
import * as Availability from "../../domain/node/Availability.ts"
import type { JobExecutor } from "../../services/JobExecutor.ts"
import { NodeOwner, type NodeReport, type ReportedClient, type ReportedComputation } from "../../services/NodeOwner.ts"
import * as LeaseSession from "./LeaseSession.ts"
import * as NodeTenants from "./NodeTenants.ts"
import * as Orphanage from "./Orphanage.ts"

const clientsOf = (state: NodeTenants.NodeTenants): ReadonlyArray<ReportedClient> => {
  const clients = new Map<string, ReportedClient>()
  for (const { leases } of state.tenants.values()) {
    if (leases._tag === "Free") continue
    const { clientId, clientName } = leases.holder
    const isConnected = leases._tag === "Held" && leases.countdown === undefined
    clients.set(clientId, { name: clientName, isConnected: isConnected || clients.get(clientId)?.isConnected === true })
  }
  return [...clients.values()]
}

const computationsOf = (state: NodeTenants.NodeTenants): ReadonlyArray<ReportedComputation> =>
  NodeTenants.sessionsOf(state).flatMap((session) =>
    [...session.computations.values()].map(({ executor, name }) => {
      const jobs = executor?.jobs()
      return {
        name,
        clientName: session.clientName,
        running: jobs?.running.length ?? 0,
        waiting: jobs?.waiting.length ?? 0
      }
    })
  )

const reportOf = (state: NodeTenants.NodeTenants, cpus: number): NodeReport => ({
  cpus,
  chosenCpus: state.chosenCpus,
  closedBecause: Availability.reason(state.availability),
  endingBecause: state.endingBecause,
  startedAt: state.startedAt,
  clients: clientsOf(state),
  computations: computationsOf(state),
  opened: state.opened,
  jobsDone: state.tally.jobsDone,
  cpuMillis: state.tally.jobMicros / 1000
})

/** The control of a node. */
export const make = (
  orphanage: Orphanage.Orphanage,
  executor: JobExecutor["Service"]
): NodeOwner["Service"] => {
  const { state } = orphanage
  const apply = (change: () => void): Effect.Effect<void> =>
    Effect.sync(() => {
      change()
      const cpus = Availability.isOpen(state.availability) ? state.chosenCpus : 0
      if (cpus === executor.cpus()) return
      state.tally.cpuChanges++
      for (const session of NodeTenants.sessionsOf(state)) session.outbox.cpus = cpus
      // What this gives back must not come to the clients before they know that there is nobody to take it.
      executor.setCpus(cpus)
      for (const session of NodeTenants.sessionsOf(state)) LeaseSession.wake(session)
    })
  const decide = (next: (availability: Availability.Availability) => Availability.Availability): Effect.Effect<void> =>
    apply(() => {
      state.availability = next(state.availability)
    })
  return NodeOwner.of({
    report: Effect.sync(() => reportOf(state, executor.cpus())),
    setCpus: (cpus) =>
      apply(() => {
        state.chosenCpus = cpus
      }),
    stop: decide(Availability.stop),
    start: decide(Availability.start),
    setInHours: (isInHours) => decide((availability) => Availability.setInHours(availability, isInHours)),
    release: Effect.suspend(() => {
      const gone = [...state.tenants.values()].flatMap((tenant) => {
        const { leases } = tenant
        const isGone = leases._tag === "Orphan" || (leases._tag === "Held" && leases.countdown !== undefined)
        return isGone ? [{ tenant, name: leases.holder.clientName }] : []
      })
      return Effect.forEach(gone, ({ name, tenant }) => Effect.as(Orphanage.release(orphanage, tenant), name), {
        concurrency: "unbounded"
      })
    }),
    refuseClients: (reason) =>
      Effect.sync(() => {
        state.endingBecause = reason
      }),
    untilFree: NodeTenants.until(state, () => state.tenants.size === 0),
    untilShutDown: Deferred.await(state.shutdown),
    untilServed: NodeTenants.until(state, () => NodeTenants.isServed(state))
  })
}
