/** Nodes in this process, and everything that can happen to them. */
import { Context, Duration, Effect, Exit, Layer, Result, Scope } from "effect"
import * as fs from "node:fs/promises"
import { tmpdir } from "node:os"
import { join } from "node:path"
import * as NodeAddress from "../../domain/NodeAddress.ts"
import { CannotStart } from "../../domain/NodeError.ts"
import type { NodeRule } from "../../domain/NodeList.ts"
import { JobPassed, TestNodeDead, UnknownTestNode } from "../../domain/testing/TestNodeError.ts"
import { addressOf, defaultCpus, type PlannedNode, planOne } from "../../domain/testing/TestNodePlan.ts"
import { ClusterNetwork, type Network } from "../../services/ClusterNetwork.ts"
import { Faults, type PartitionDirection, type TestNode, type WatchedJob } from "../../services/Faults.ts"
import { NodeLauncher } from "../../services/NodeLauncher.ts"
import { NodeLink } from "../../services/NodeLink.ts"
import * as DiscoveryFaulty from "./DiscoveryFaulty.ts"
import * as FileTransferFaulty from "./FileTransferFaulty.ts"
import * as Gate from "./Gate.ts"
import * as JobExecutorHeld from "./JobExecutorHeld.ts"
import * as Machine from "./Machine.ts"
import * as Machines from "./Machines.ts"
import * as NodeLinkFaulty from "./NodeLinkFaulty.ts"

/** Nodes in memory. */
export interface MemoryNodes {
  readonly faults: Faults["Service"]
  readonly network: Network
  /** Counts what happens, so that it can be seen when nothing does. */
  readonly activity: () => number
}

const stateOf = ({ running, thawed }: Machine.Machine): TestNode["state"] => {
  if (running === undefined) return "dead"
  return thawed.isOpen ? "running" : "frozen"
}

const nodeOf = (machine: Machine.Machine): TestNode => ({
  name: machine.name,
  ipAddr: machine.ipAddr,
  cpus: machine.cpus,
  state: stateOf(machine),
  partition: machine.partition,
  running: machine.holding.running.size
})

const part = (machine: Machine.Machine, partition: Machine.Machine["partition"]): void => {
  machine.partition = partition
  Gate.set(machine.toNode, partition === "none" || partition === "fromNode")
  Gate.set(machine.fromNode, partition === "none" || partition === "toNode")
}

/** The machine that has a job, and whether it is at a node at all. */
const placeOf = (machines: Machines.Machines, job: WatchedJob): Machine.Machine | undefined => {
  if (job.ipAddr === undefined || (job.status !== "Running" && job.status !== "ProvisionalResult")) return undefined
  const parsed = NodeAddress.parse(job.ipAddr, NodeAddress.defaultNodePort)
  if (Result.isFailure(parsed)) return undefined
  return machines.at(parsed.success._tag === "Local" ? { _tag: "Unix", path: Machines.localName } : parsed.success)
}

/** Waits until there is something to see; looks whenever something happened. */
const watch = <A>({ watchers }: Machines.Machines, see: () => A | undefined): Effect.Effect<A> =>
  Effect.callback<A>((resume) => {
    const look = (): void => {
      const seen = see()
      if (seen === undefined) return
      watchers.delete(look)
      resume(Effect.succeed(seen))
    }
    watchers.add(look)
    look()
    return Effect.sync(() => watchers.delete(look))
  })

/** Waits until a job is where it is wanted; fails when it has ended. */
const awaitJob = (
  machines: Machines.Machines,
  job: WatchedJob,
  isThere: (machine: Machine.Machine) => boolean
): Effect.Effect<string, JobPassed> => {
  const seen = watch(machines, () => {
    const machine = placeOf(machines, job)
    return machine !== undefined && isThere(machine) ? machine.name : undefined
  })
  const { result } = job
  const ended = Effect.isEffect(result)
    ? Effect.ignoreCause(result)
    : Effect.promise(() => Promise.allSettled([(job.result as () => Promise<unknown>)()]))
  const passed = Effect.flatMap(ended, () => Effect.fail(new JobPassed({ job: job.number, status: job.status })))
  return Effect.raceFirst(seen, passed)
}

/** A client that is none of the test's clusters. */
const stranger = { clientId: "dispy/testing", clientName: "another client, which the test has made" }

const makeFaults = Effect.fnUntraced(function*(
  machines: Machines.Machines,
  link: NodeLink["Service"],
  add: (planned: PlannedNode) => Effect.Effect<Machine.Machine>
) {
  const scope = yield* Effect.scope
  const occupied = new Map<string, Scope.Closeable>()
  const known = (name: string): Effect.Effect<Machine.Machine, UnknownTestNode> =>
    Effect.suspend(() => {
      const machine = machines.all.get(name)
      return machine === undefined
        ? Effect.fail(new UnknownTestNode({ node: name, known: [...machines.all.keys()] }))
        : Effect.succeed(machine)
    })
  const alive = (name: string, verb: string) =>
    Effect.tap(
      known(name),
      ({ running }) => running === undefined ? Effect.fail(new TestNodeDead({ node: name, verb })) : Effect.void
    )
  /** A verb that changes the machine and nothing else. */
  const set = (name: string, change: (machine: Machine.Machine) => void): Effect.Effect<void, UnknownTestNode> =>
    Effect.map(known(name), change)
  const vacate = (name: string) =>
    Effect.flatMap(known(name), () => {
      const held = occupied.get(name)
      occupied.delete(name)
      return held === undefined ? Effect.void : Scope.close(held, Exit.void)
    })
  return Faults.of({
    nodes: Effect.sync(() => [...machines.all.values()].map(nodeOf)),
    start: (node) =>
      Effect.fromResult(planOne(node)).pipe(
        Effect.flatMap((planned) => {
          const before = machines.all.get(planned.name)
          return before === undefined ? add(planned) : Machine.start(before, scope)
        }),
        Effect.asVoid
      ),
    kill: (name) => Effect.flatMap(known(name), Machine.kill),
    restart: (name) =>
      Effect.flatMap(known(name), (machine) => Effect.andThen(Machine.kill(machine), Machine.start(machine, scope))),
    freeze: (name) => Effect.map(alive(name, "freeze"), ({ thawed }) => Gate.set(thawed, false)),
    thaw: (name) => Effect.map(alive(name, "thaw"), ({ thawed }) => Gate.set(thawed, true)),
    partition: (name, direction: PartitionDirection = "both") => set(name, (machine) => part(machine, direction)),
    heal: (name) => {
      const heal = (machine: Machine.Machine): void => {
        machine.delayMillis = 0
        machine.isDuplicating = false
        Gate.set(machine.prompt, true)
        part(machine, "none")
      }
      return name === undefined ? Effect.sync(() => machines.all.forEach(heal)) : set(name, heal)
    },
    drop: (name) => Effect.flatMap(alive(name, "drop the connections of"), Machine.reset),
    delay: (name, time) =>
      set(name, (machine) => {
        machine.delayMillis = Duration.toMillis(Duration.fromInputUnsafe(time))
        Gate.set(machine.prompt, machine.delayMillis === 0)
      }),
    duplicate: (name) =>
      set(name, (machine) => {
        machine.isDuplicating = true
      }),
    hold: (name) => set(name, ({ holding }) => JobExecutorHeld.set(holding, true)),
    release: (name) => set(name, ({ holding }) => JobExecutorHeld.set(holding, false)),
    occupy: (name) =>
      Effect.gen(function*() {
        yield* alive(name, "occupy")
        if (occupied.has(name)) return
        const own = yield* Scope.fork(scope)
        yield* Effect.gen(function*() {
          const connection = yield* Effect.orDie(
            link.connect({ _tag: "Tcp", host: name, port: NodeAddress.defaultNodePort })
          )
          const { leaseId, pulseMillis } = yield* Effect.catchTag(
            connection.acquire(stranger, name),
            "NodeUnreachable",
            Effect.die
          )
          yield* Effect.addFinalizer(() => Effect.ignore(connection.release(leaseId)))
          yield* connection.pulse(leaseId).pipe(
            Effect.ignore,
            Effect.delay(pulseMillis),
            Effect.forever,
            Effect.forkScoped
          )
        }).pipe(Scope.provide(own), Effect.onError(() => Scope.close(own, Exit.void)))
        occupied.set(name, own)
      }),
    vacate,
    awaitBusy: (name, jobs = 1) =>
      Effect.flatMap(
        known(name),
        ({ holding }) => Effect.asVoid(watch(machines, () => holding.running.size >= jobs ? true : undefined))
      ),
    awaitPlaced: (job) => awaitJob(machines, job, () => true),
    awaitRunning: (job) => awaitJob(machines, job, ({ holding }) => JobExecutorHeld.isRunning(holding, job.number))
  })
})

const allOf = (target: NodeRule["target"]): NodeRule => ({ target, allocate: ({ cpus }) => ({ cpus, reason: "" }) })

/** What "local" is: one more node, which ends with its cluster. */
const launcherOf = (
  machines: Machines.Machines,
  add: (planned: PlannedNode) => Effect.Effect<Machine.Machine>
): Network["launcher"] =>
(cpus) =>
  NodeLauncher.of({
    launch: Effect.acquireRelease(
      Effect.suspend(() =>
        machines.all.get(Machines.localName)?.running === undefined
          ? add({ name: Machines.localName, cpus: cpus > 0 ? cpus : defaultCpus })
          : Effect.fail(
            new CannotStart({
              program: "the node \"local\" of this test",
              reason: "another cluster has it; list the test's nodes by their names"
            })
          )
      ),
      Machine.kill
    ).pipe(Effect.as({ _tag: "Unix", path: Machines.localName }))
  })

/** Starts nodes; they end with the scope. */
export const make = Effect.fnUntraced(function*(
  planned: ReadonlyArray<PlannedNode>
): Effect.fn.Return<MemoryNodes, never, Scope.Scope> {
  const home = yield* Effect.acquireRelease(
    Effect.sync(() => join(tmpdir(), `dispy-testing-${crypto.randomUUID()}`)),
    (directory) => Effect.promise(() => fs.rm(directory, { recursive: true, force: true }))
  )
  // Killed before their files are removed.
  const scope = yield* Scope.fork(yield* Effect.scope)
  const machines = Machines.make()
  yield* Scope.addFinalizer(
    scope,
    Effect.suspend(() => Effect.forEach(machines.all.values(), Machine.kill, { discard: true }))
  )
  const ground: Machine.Ground = { home, changed: machines.changed }
  const add = Effect.fnUntraced(function*(one: PlannedNode) {
    const machine = Machine.make(one, addressOf(machines.all.size + 1), ground)
    machines.all.set(one.name, machine)
    yield* Machine.start(machine, scope)
    for (const listener of machines.listeners) listener(machine)
    return machine
  })
  const services = yield* Layer.build(
    Layer.mergeAll(
      NodeLinkFaulty.layer(machines, scope),
      FileTransferFaulty.layer(machines),
      DiscoveryFaulty.layer(machines)
    )
  )
  for (const one of planned) yield* add(one)
  const network: Network = {
    services,
    launcher: launcherOf(machines, add),
    nodes: () => [
      ...[...machines.all.keys()].filter((name) => name !== Machines.localName).map((host) =>
        allOf({ _tag: "Tcp", host, port: NodeAddress.defaultNodePort })
      ),
      allOf({ _tag: "Pattern", text: "*", port: undefined })
    ]
  }
  const faults = yield* makeFaults(machines, Context.get(services, NodeLink), add).pipe(Scope.provide(scope))
  return { faults, network, activity: () => machines.activity }
})

/** Nodes, on which clusters are made in this context. */
export const layer = (planned: ReadonlyArray<PlannedNode>): Layer.Layer<Faults> =>
  Layer.effectContext(
    Effect.map(make(planned), ({ faults, network }) =>
      Context.make(Faults, faults).pipe(Context.add(ClusterNetwork, network)))
  )
