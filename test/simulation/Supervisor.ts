/** How a simulated client keeps a node in use, as `layers/scheduler/NodeSupervisor.ts` and `Seater.ts` do, and how it ends. */
import { NodeUnreachable } from "../../src/domain/NodeError.ts"
import * as RecoverFile from "../../src/domain/recovery/RecoverFile.ts"
import * as Client from "./Client.ts"
import * as Lasting from "./Lasting.ts"
import * as Random from "./Random.ts"
import * as Rpc from "./Rpc.ts"
import * as Tasks from "./Tasks.ts"
import * as World from "./World.ts"

/** Time between tries with a node that is lost or busy, and how long it may take to be given back. */
const [retryMillis, releaseMillis] = [1000, 5000]

/** Port of simulated nodes. */
export const port = 51_348

/** What outlives the connections to a node. */
interface Member {
  readonly address: string
  /** The lease that could not be given back when it was lost. */
  unreleased: string
  node: Client.Connected | undefined
  sessions: number
}

/** Keeps a node in use until the client closes. */
export const supervise = function*(client: Client.Client, address: string): Tasks.Task<void> {
  const member: Member = { address, unreleased: "", node: undefined, sessions: 0 }
  while (!client.isClosing) {
    yield* session(client, member)
    if (!client.isClosing) yield* Tasks.wait(Tasks.sleep(client.world, client.process, retryMillis))
  }
}

const timed = (client: Client.Client, call: Tasks.Wait<Rpc.Answer>): Tasks.Wait<Rpc.Answer | "Time"> =>
  Tasks.first<Rpc.Answer | "Time">(call, Tasks.sleep(client.world, client.process, releaseMillis))

const giveUp = function*(client: Client.Client, member: Member, connection: Rpc.Client): Tasks.Task<void> {
  const leaseId = member.unreleased
  member.unreleased = ""
  if (leaseId === "") return
  const clientId = client.process.name
  const resumed = yield* Tasks.wait(timed(client, Rpc.call(connection, "ResumeLease", { leaseId, clientId })))
  if (resumed === "Time" || !resumed.ok) return
  yield* Tasks.wait(timed(client, Rpc.call(connection, "ReleaseLease", { leaseId })))
}

const session = function*(client: Client.Client, member: Member): Tasks.Task<void> {
  const { address } = member
  const { flaws, network, process, pulseMillis, recovery, world } = client
  const connection = yield* Rpc.connect(world, network, process, address)
  if (connection instanceof NodeUnreachable) return
  yield* giveUp(client, member, connection)
  const acquired = client.isClosing
    ? undefined
    : yield* Tasks.wait(Rpc.call(connection, "AcquireLease", {
      clientId: process.name,
      clientName: process.name,
      sessionId: `${process.name} ${address} ${++member.sessions}`,
      pulseMillis,
      recoverKey: recovery?.key
    }))
  if (acquired === undefined || !acquired.ok) return Rpc.close(connection)
  Client.note(client, { _tag: "Node", host: address, port, name: address })
  const leaseId = acquired.value as string
  const lasting = Lasting.make(
    { world, network, process, clientId: process.name, leaseId, flaws },
    connection,
    pulseMillis
  )
  const { cpus, incarnation: id } = connection.greeting
  const node: Client.Connected = { id, address, lasting, received: 0, acknowledged: 0 }
  member.node = node
  client.nodes.set(id, node)
  Client.post(client, { _tag: "NodeJoined", nodeId: id, cpus })
  const tasks = [Tasks.run(
    world,
    process,
    Lasting.listen(lasting, (message) => Client.take(client, node, message), Client.lastSequence)
  )]
  for (const { id: computationId } of client.computations.values()) {
    tasks.push(Tasks.run(world, process, seat(client, node, computationId, cpus)))
  }
  const end = yield* Tasks.wait(Tasks.first<string>(Tasks.told(lasting.lost), untilClosing(client)))
  for (const task of tasks) task.cancel()
  if (end === "Closing") yield* closeAll(client, node)
  else {
    World.note(world, `${process.name} gives ${id} up: ${end}`)
    World.count(world, "nodes lost")
  }
  client.nodes.delete(id)
  if (flaws.ignoresLosses !== true) Client.post(client, { _tag: "NodeLost", nodeId: id, reason: end })
  yield* release(client, member, lasting)
  Lasting.end(lasting)
}

const untilClosing = (client: Client.Client): Tasks.Wait<string> => (resume) => {
  const look = (): void => {
    if (client.isClosing) resume("Closing")
  }
  client.watchers.add(look)
  look()
  return () => client.watchers.delete(look)
}

const seat = function*(
  client: Client.Client,
  node: Client.Connected,
  computationId: string,
  cpus: number
): Tasks.Task<void> {
  const answer = yield* Lasting.use(node.lasting, "OpenComputation", { computationId, cpus })
  if (client.nodes.get(node.id) !== node) return
  if (!answer.ok) return Tasks.tell(node.lasting.lost, answer.error.message)
  Client.post(client, { _tag: "NodeReady", nodeId: node.id, computationId, cpus })
}

/** The user has a computation leave a node, and later come back to it: see `Seater.close`. */
export const leave = function*(
  client: Client.Client,
  node: Client.Connected,
  computationId: string,
  how: { readonly isTerminating: boolean; readonly keepsPinned: boolean }
): Tasks.Task<void> {
  const place = { nodeId: node.id, computationId }
  yield* Tasks.wait<void>((resume) => {
    client.drained.set(`${node.id} ${computationId}`, () => resume(undefined))
    Client.post(client, { _tag: "SeatClosing", ...place, reason: "the user closed it", ...how })
  })
  if (client.nodes.get(node.id) !== node) return
  yield* Lasting.use(node.lasting, "CloseComputation", { computationId })
  yield* Tasks.wait(Tasks.sleep(client.world, client.process, Random.skewed(client.world.random, 1, 5000)))
  if (client.nodes.get(node.id) === node) yield* seat(client, node, computationId, node.lasting.greeting.cpus)
}

const closeAll = function*(client: Client.Client, node: Client.Connected): Tasks.Task<void> {
  for (const computationId of client.computations.keys()) {
    const task = Lasting.use(node.lasting, "CloseComputation", { computationId })
    yield* Tasks.wait(within(client, task, 10_000))
  }
}

const within = (
  client: Client.Client,
  task: Tasks.Task<Rpc.Answer>,
  millis: number
): Tasks.Wait<Rpc.Answer | "Time"> =>
  Tasks.first<Rpc.Answer | "Time">(
    (resume) => {
      const running = Tasks.run(client.world, client.process, task, resume)
      return () => running.cancel()
    },
    Tasks.sleep(client.world, client.process, millis)
  )

const release = function*(client: Client.Client, member: Member, lasting: Lasting.Lasting): Tasks.Task<void> {
  member.node = undefined
  const { leaseId } = lasting
  const answer = yield* Tasks.wait(within(client, Lasting.use(lasting, "ReleaseLease", {}), releaseMillis))
  if (answer === "Time" || !answer.ok) member.unreleased = leaseId
}

/** Runs the client: it opens its computations, and ends in order when all jobs have ended. */
export const live = function*(client: Client.Client, addresses: ReadonlyArray<string>): Tasks.Task<void> {
  const { process, recovery, world } = client
  if (recovery !== undefined) {
    Client.note(client, {
      _tag: "Header",
      version: RecoverFile.version,
      recoverKey: recovery.key,
      client: process.name,
      host: process.machine.name,
      process: process.name,
      createdMillis: 1.7e12 + world.now + process.machine.clockError,
      credentials: {}
    })
  }
  for (const { id, isReentrant } of client.computations.values()) {
    Client.post(client, {
      _tag: "ComputationOpened",
      computationId: id,
      isReentrant: isReentrant || client.flaws.isRash === true
    })
    Client.note(client, { _tag: "Computation", id, name: id, mayRunTwice: isReentrant })
  }
  let supervisors = addresses.length
  const ended = Tasks.signal<void>()
  for (const address of addresses) {
    Tasks.run(world, process, supervise(client, address), () => {
      if (--supervisors === 0) Tasks.tell(ended, undefined)
    })
  }
  yield* Tasks.wait<void>((resume) => {
    const look = (): void => {
      if (client.hasSubmittedAll && client.open === 0 && client.events.length === 0) resume(undefined)
    }
    client.watchers.add(look)
    look()
    return () => client.watchers.delete(look)
  })
  World.note(world, `${process.name} has all outcomes and closes`)
  client.isClosing = true
  for (const id of client.computations.keys()) {
    Client.post(client, { _tag: "ComputationClosed", computationId: id, reason: "its cluster was closed" })
  }
  Client.tellWatchers(client)
  yield* Tasks.wait(Tasks.told(ended))
  if (recovery !== undefined) client.disk.files.delete(recovery.path)
  World.end(world, process, "all is done")
}
