/**
 * One simulated run from a seed: machines, clients with jobs, faults for a while, then none, until everything has come to
 * rest. The same seed is the same run, step by step.
 */
import type { JobRecord, Terms } from "../../src/domain/scheduler/JobRecord.ts"
import { aJob } from "../support/SchedulerBuilders.ts"
import * as Client from "./Client.ts"
import * as Disk from "./Disk.ts"
import * as Faults from "./Faults.ts"
import * as Fleet from "./Fleet.ts"
import * as Jobs from "./Jobs.ts"
import * as Ledger from "./Ledger.ts"
import * as Network from "./Network.ts"
import * as Random from "./Random.ts"
import * as Supervisor from "./Supervisor.ts"
import * as Tasks from "./Tasks.ts"
import * as World from "./World.ts"

/** What became of a run. */
export interface Report {
  readonly seed: number
  readonly steps: number
  readonly hash: number
  /** Virtual time, in milliseconds. */
  readonly millis: number
  readonly counts: ReadonlyMap<string, number>
  /** What rule was broken; undefined for none. */
  readonly violation: string | undefined
  readonly trace: ReadonlyArray<string>
}

/** How long faults happen, and within what time everything must be at rest after the last is mended. */
const [faultMillis, restMillis] = [40_000, 600_000]

/** How often is looked for something to mend. */
const mendMillis = 5000

/** Steps after which a run is taken as going round in circles. */
const mostSteps = 400_000

const addClient = (fleet: Fleet.Fleet, index: number, pulseMillis: number): void => {
  const { flaws, ledger, network, world } = fleet
  const name = `client${index}`
  const disk = Disk.make()
  const machine: World.Machine = { name, clockError: 0, isBad: false }
  const isRecoverable = Random.chance(world.random, 0.8)
  const client = Client.make({
    world,
    network,
    ledger,
    process: World.start(world, name, machine),
    disk,
    pulseMillis,
    recovery: isRecoverable ? { path: "recover", key: `key-${name}` } : undefined,
    flaws
  })
  const computations = Random.int(world.random, 1, 2)
  for (let i = 0; i < computations; i++) {
    const id = `${name}-c${i}`
    client.computations.set(id, {
      id,
      isReentrant: Random.chance(world.random, 0.5),
      terms: Jobs.termsOf(world.random),
      jobs: []
    })
  }
  fleet.clients.push({ ...machine, disk, client, recovering: undefined, recoveries: 0 })
  work(fleet, client)
  Tasks.run(world, client.process, Supervisor.live(client, fleet.nodes.map((node) => node.name)))
}

const withOneMore = (terms: Terms | undefined): Terms | undefined =>
  terms?.retry === undefined ? terms : { ...terms, retry: { ...terms.retry, times: terms.retry.times + 1 } }

/** Submits jobs in bursts, cancels some, and changes what may run where. */
const work = (fleet: Fleet.Fleet, client: Client.Client): void => {
  const { ledger, world } = fleet
  const { process, state } = client
  const { random } = world
  const bursts = Random.int(random, 1, 6)
  let left = bursts
  // Some have so many short jobs that a node which fails all of them is noticed.
  const isBusy = Random.chance(random, 0.08)
  const numbers = new Map<string, number>()
  for (let i = 0; i < bursts; i++) {
    World.after(world, process, Random.between(random, 0, faultMillis * 0.8), "submits jobs", () => {
      const computation = Random.pick(random, [...client.computations.values()])
      const count = isBusy ? Random.int(random, 20, 50) : Random.int(random, 1, 12)
      const jobs: Array<JobRecord> = []
      for (let j = 0; j < count; j++) {
        const number = (numbers.get(computation.id) ?? 0) + 1
        numbers.set(computation.id, number)
        const nodes = [...state.nodes.keys()]
        const isPinned = nodes.length > 0 && Random.chance(random, 0.1)
        const timeoutMillis = Random.chance(random, 0.1) ? Random.int(random, 50, 2000) : 0
        const { id: computationId, isReentrant, terms } = computation
        const given = client.flaws.insists === true ? withOneMore(terms) : terms
        const job = { ...aJob(number, isPinned ? Random.pick(random, nodes) : "", given), timeoutMillis }
        const spec = Jobs.specOf(random, isBusy)
        Ledger.submitted(ledger, { computationId, number, client: process.name, isReentrant, terms, spec })
        jobs.push(job)
        if (Random.chance(random, 0.1)) cancelLater(client, computationId, job)
      }
      World.count(world, "jobs", count)
      Client.submit(client, computation, jobs)
      if (--left > 0) return
      client.hasSubmittedAll = true
    })
  }
  const changes = Random.int(random, 0, 6)
  for (let i = 0; i < changes; i++) {
    World.after(world, process, Random.between(random, 0, faultMillis), "", () => steer(client))
  }
}

const cancelLater = (client: Client.Client, computationId: string, job: JobRecord): void => {
  const { process, world } = client
  World.after(world, process, Random.skewed(world.random, 1, 8000), "cancels a job", () => {
    Client.post(client, { _tag: "Cancelled", computationId, jobs: [job], reason: "it was cancelled" })
  })
}

/** Changes what may run on a node, for a while. */
const steer = (client: Client.Client): void => {
  const { process, world } = client
  const { random } = world
  const node = Random.pick(random, [...client.nodes.values(), undefined])
  const computation = Random.pick(random, [...client.computations.keys()])
  if (node === undefined) return
  const place = { nodeId: node.id, computationId: computation }
  if (Random.chance(random, 0.3)) {
    const seat = client.state.nodes.get(node.id)?.seats.get(computation)
    if (seat === undefined || seat.closing !== "" || client.isClosing) return
    const how = { isTerminating: Random.chance(random, 0.5), keepsPinned: Random.chance(random, 0.5) }
    World.count(world, "seats closed")
    Tasks.run(world, process, Supervisor.leave(client, node, computation, how))
    return
  }
  const isLimit = Random.chance(random, 0.5)
  const change = (isFull: boolean): void =>
    Client.post(
      client,
      isLimit
        ? { _tag: "SeatLimited", ...place, cpus: isFull ? 4 : Random.int(random, 0, 1) }
        : { _tag: "SeatAllocated", ...place, isAllocated: isFull }
    )
  change(false)
  World.count(world, "changes of seats")
  World.after(world, process, Random.between(random, 100, 10_000), "", () => change(true))
}

const populate = (world: World.World, flaws: Fleet.Flaws): Fleet.Fleet => {
  const { random } = world
  const fleet: Fleet.Fleet = {
    world,
    network: Network.make(),
    ledger: Ledger.make(world, faultMillis),
    flaws,
    zombieMillis: Random.pick(random, [0, 20_000, 60_000]),
    nodes: [],
    clients: []
  }
  const nodes = Random.int(random, 1, 6)
  for (let i = 1; i <= nodes; i++) Fleet.addNode(fleet, `node${i}`)
  const pulseMillis = Random.pick(random, [300, 500, 1000])
  const clients = Random.chance(random, 0.3) ? 2 : 1
  for (let i = 1; i <= clients; i++) addClient(fleet, i, pulseMillis)
  return fleet
}

/** What faults of before still do, and who died of them, is mended too. */
const mend = (fleet: Fleet.Fleet): void => {
  Faults.heal(fleet)
  World.after(fleet.world, undefined, mendMillis, "", () => {
    if (Fleet.isBusy(fleet)) mend(fleet)
  })
}

const go = (world: World.World, flaws: Fleet.Flaws): void => {
  const fleet = populate(world, flaws)
  world.check = (process) => Fleet.check(fleet, process)
  if (!Random.chance(world.random, 0.05)) Faults.plan(fleet, 0, faultMillis, Random.int(world.random, 1, 25))
  while (World.step(world, faultMillis)) if (world.steps > mostSteps) World.fail("it goes round in circles")
  World.after(world, undefined, faultMillis - world.now, "everything is mended", () => mend(fleet))
  const end = faultMillis + restMillis
  while (World.step(world, end) && Fleet.isBusy(fleet)) {
    if (world.steps > mostSteps) World.fail("it goes round in circles")
  }
  if (Fleet.isBusy(fleet)) World.fail(`it is not at rest ${restMillis / 1000} s after the last fault`)
  Fleet.checkEnd(fleet)
}

/** Runs a seed. */
export const run = (seed: number, flaws: Fleet.Flaws = {}): Report => {
  const world = World.make(seed)
  let violation: string | undefined
  try {
    go(world, flaws)
  } catch (error) {
    if (!(error instanceof World.Violation)) World.note(world, String(error))
    violation = error instanceof World.Violation ? error.message : String((error as Error).stack)
  }
  const { counts, hash, now, steps } = world
  return { seed, steps, hash: hash >>> 0, millis: now, counts, violation, trace: World.lastLines(world) }
}
