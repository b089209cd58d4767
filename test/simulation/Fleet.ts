/** The machines of a simulated run and the programs on them: what faults happen to, and what is checked. */
import * as Client from "./Client.ts"
import * as Disk from "./Disk.ts"
import * as Ledger from "./Ledger.ts"
import * as Network from "./Network.ts"
import * as Node from "./Node.ts"
import type * as NodeState from "./NodeState.ts"
import * as Random from "./Random.ts"
import * as Recovering from "./Recovering.ts"
import * as Tasks from "./Tasks.ts"
import * as World from "./World.ts"

/** A machine with a daemon, at most times. */
export interface NodeMachine extends World.Machine {
  readonly disk: Disk.Disk
  readonly cpus: number
  node: NodeState.Node | undefined
  starts: number
}

/** A machine with a client, and with whoever recovers what that has left. */
export interface ClientMachine extends World.Machine {
  readonly disk: Disk.Disk
  readonly client: Client.Client
  recovering: World.Process | undefined
  recoveries: number
}

/** What is broken on purpose. */
export type Flaws = NodeState.NodeFlaws & Client.ClientFlaws

/** See above. */
export interface Fleet {
  readonly world: World.World
  readonly network: Network.Network
  readonly ledger: Ledger.Ledger
  readonly flaws: Flaws
  readonly zombieMillis: number
  readonly nodes: Array<NodeMachine>
  readonly clients: Array<ClientMachine>
}

/** Adds a machine for a daemon. */
export const addNode = (fleet: Fleet, name: string): void => {
  const machine: NodeMachine = {
    name,
    clockError: Random.int(fleet.world.random, -3_600_000, 3_600_000),
    isBad: false,
    disk: Disk.make(),
    cpus: Random.pick(fleet.world.random, [1, 1, 2, 3, 4]),
    node: undefined,
    starts: 0
  }
  fleet.nodes.push(machine)
  startNode(fleet, machine)
}

/** Starts the daemon of a machine that has none. */
export const startNode = (fleet: Fleet, machine: NodeMachine): void => {
  if (machine.node?.process.isAlive === true) return
  const { flaws, ledger, network, world, zombieMillis } = fleet
  const process = World.start(world, `${machine.name}#${++machine.starts}`, machine)
  machine.node = Node.start({
    world,
    network,
    ledger,
    process,
    disk: machine.disk,
    cpus: machine.cpus,
    zombieMillis,
    flaws,
    takeDown: () => takeDown(fleet, machine)
  })
}

/** A job ends the daemon under which it runs; whoever looks after that starts it again. */
const takeDown = (fleet: Fleet, machine: NodeMachine): void => {
  const { world } = fleet
  World.count(world, "daemons that a job ended")
  killNode(fleet, machine, false)
  World.after(world, undefined, Random.skewed(world.random, 20, 3000), "", () => startNode(fleet, machine))
}

/** Ends the daemon of a machine at once. */
export const killNode = (fleet: Fleet, machine: NodeMachine, isPowerLoss: boolean): void => {
  const { node } = machine
  if (node === undefined || !node.process.isAlive) return
  if (isPowerLoss) {
    Network.silence(fleet.network, node.process)
    Disk.powerLoss(fleet.world.random, machine.disk)
  }
  Ledger.forgetUnwritten(fleet.ledger, machine.name, isPowerLoss)
  World.end(fleet.world, node.process, isPowerLoss ? "its machine lost its power" : "it was killed")
}

/** Has the daemon of a machine end in order. */
export const drainNode = (fleet: Fleet, machine: NodeMachine): void => {
  const { node } = machine
  if (node === undefined || !node.process.isAlive || node.isDraining) return
  const grace = Random.between(fleet.world.random, 0, 3000)
  node.process.onEnd.add(() => Ledger.forgetUnwritten(fleet.ledger, machine.name, false))
  Tasks.run(fleet.world, node.process, Node.drain(node, grace))
}

/** Ends a client at once. */
export const killClient = (fleet: Fleet, machine: ClientMachine): void => {
  World.end(fleet.world, machine.client.process, "it was killed")
}

/** Starts to recover what a dead client has left, if nobody does and there is something. */
export const startRecovering = (fleet: Fleet, machine: ClientMachine, terminatePending: boolean): void => {
  const { client } = machine
  if (client.process.isAlive || machine.recovering?.isAlive === true) return
  if (client.recovery === undefined || !machine.disk.files.has(client.recovery.path)) return
  const { ledger, network, world } = fleet
  const process = World.start(world, `recover-${machine.name}#${++machine.recoveries}`, machine)
  machine.recovering = process
  World.count(world, "recoveries")
  const { path } = client.recovery
  const forgetsHandedOver = fleet.flaws.forgetsHandedOver === true
  const { disk } = machine
  Tasks.run(
    world,
    process,
    Recovering.live({ world, network, ledger, process, disk, path, terminatePending, forgetsHandedOver })
  )
}

/** Whether anybody waits for anything. */
export const isBusy = (fleet: Fleet): boolean =>
  fleet.clients.some(({ client, disk, recovering }) =>
    client.process.isAlive || recovering?.isAlive === true ||
    (client.recovery !== undefined && disk.files.has(client.recovery.path))
  ) || fleet.nodes.some(({ node }) => node !== undefined && node.tenants.size > 0)

/** What must hold after every step; of those to whom nothing happened, it still does. */
export const check = (fleet: Fleet, process: World.Process | undefined): void => {
  const isMeant = (one: World.Process): boolean => one.isAlive && (process === undefined || process === one)
  for (const { client } of fleet.clients) {
    if (!isMeant(client.process)) continue
    const wrong = Client.invariants(client)
    if (wrong.length > 0) World.fail(`${client.process.name}: ${wrong.join("; ")}`)
  }
  for (const { node } of fleet.nodes) {
    if (node === undefined || !isMeant(node.process)) continue
    const wrong = Node.invariants(node)
    if (wrong.length > 0) World.fail(`${node.process.name}: ${wrong.join("; ")}`)
  }
}

/** What must hold when everything has come to rest. */
export const checkEnd = (fleet: Fleet): void => {
  const closed = new Set(fleet.clients.filter(({ client }) => client.isClosing).map(({ name }) => name))
  for (const job of fleet.ledger.jobs.values()) {
    const name = `${job.computationId}/${job.number}`
    if (closed.has(job.client) && job.outcome === "") World.fail(`job ${name} has no outcome`)
    if (job.recovered === "" && !closed.has(job.client)) {
      for (const node of job.kept.keys()) World.fail(`job ${name} is kept by ${node} and nobody has recovered it`)
    }
  }
  for (const { disk, name, node } of fleet.nodes) {
    for (const path of Disk.list(disk, "kept/")) {
      const key = path.split("/")[1]!
      const isNeeded = fleet.clients.some(({ client, disk: own }) =>
        client.recovery?.key === key && own.files.has(client.recovery.path)
      )
      if (isNeeded) World.fail(`${name} still keeps ${path}`)
    }
    if (node !== undefined && node.process.isAlive && node.slots.pool.sessions.size > 0) {
      World.fail(`${name} still has computations`)
    }
  }
}
