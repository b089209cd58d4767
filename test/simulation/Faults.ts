/** What goes wrong in a simulated run: each fault begins at a random moment and is over after a random time, or at the latest when the run heals. */
import * as Fleet from "./Fleet.ts"
import * as Network from "./Network.ts"
import * as Node from "./Node.ts"
import * as Random from "./Random.ts"
import * as Slots from "./Slots.ts"
import * as World from "./World.ts"

type Fleet = Fleet.Fleet

const links = (fleet: Fleet): ReadonlyArray<Network.Link> => [...fleet.network.links.values()]

const openEnds = (fleet: Fleet): ReadonlyArray<Network.End> =>
  links(fleet).flatMap(({ ends }) => [...ends].filter(({ isOpen }) => isOpen))

/** Does something to one of these, if there is one. */
const to = <A>(fleet: Fleet, things: ReadonlyArray<A>, act: (thing: A) => void): boolean => {
  if (things.length === 0) return false
  act(Random.pick(fleet.world.random, things))
  return true
}

const lasting = ({ world }: Fleet, end: () => void, most = 40_000): void =>
  World.after(world, undefined, Random.skewed(world.random, 20, most), "", end)

const processes = (fleet: Fleet): ReadonlyArray<World.Process> =>
  [
    ...fleet.nodes.flatMap(({ node }) => node?.process ?? []),
    ...fleet.clients.flatMap((
      { client, recovering }
    ) => [client.process, ...(recovering === undefined ? [] : [recovering])])
  ].filter(({ isAlive, isFrozen }) => isAlive && !isFrozen)

/** By name; each returns false where there was nothing to do it to. */
const faults: Readonly<Record<string, (fleet: Fleet) => boolean>> = {
  "kill a node": (fleet) =>
    to(fleet, fleet.nodes, (machine) => {
      Fleet.killNode(fleet, machine, false)
      lasting(fleet, () => Fleet.startNode(fleet, machine), 20_000)
    }),
  "cut the power": (fleet) =>
    to(fleet, fleet.nodes, (machine) => {
      Fleet.killNode(fleet, machine, true)
      lasting(fleet, () => Fleet.startNode(fleet, machine), 20_000)
    }),
  "end a node": (fleet) =>
    to(fleet, fleet.nodes, (machine) => {
      Fleet.drainNode(fleet, machine)
      lasting(fleet, () => Fleet.startNode(fleet, machine), 20_000)
    }),
  "offer other cpus": (fleet) =>
    to(fleet, fleet.nodes.flatMap(({ node }) => node?.process.isAlive === true ? [node] : []), (node) => {
      Node.offerCpus(node, Random.int(fleet.world.random, 0, node.cpus))
      lasting(fleet, () => Node.offerCpus(node, node.cpus), 10_000)
    }),
  "kill a slot": (fleet) => to(fleet, fleet.nodes.flatMap(({ node }) => node ?? []), (node) => Slots.kill(node.slots)),
  "have a machine fail everything": (fleet) =>
    to(fleet, fleet.nodes, (machine) => {
      machine.isBad = true
      World.after(
        fleet.world,
        undefined,
        Random.skewed(fleet.world.random, 1000, 40_000),
        "",
        () => machine.isBad = false
      )
    }),
  "kill a client": (fleet) =>
    to(
      fleet,
      fleet.clients.filter(({ client }) => client.process.isAlive && client.recovery !== undefined),
      (machine) => {
        const { random } = fleet.world
        Fleet.killClient(fleet, machine)
        const recoverLater = (): void =>
          lasting(fleet, () => {
            Fleet.startRecovering(fleet, machine, Random.chance(random, 0.2))
            if (Random.chance(random, 0.5)) return
            lasting(fleet, () => {
              happen(fleet, "kill a recovery")
              recoverLater()
            }, 20_000)
          }, 20_000)
        recoverLater()
        // What goes wrong while a node keeps what it has, or hands it over.
        for (let i = Random.int(random, 0, 3); i > 0; i--) soonAfter(fleet, 20_000)
      }
    ),
  "kill a recovery": (fleet) =>
    to(
      fleet,
      fleet.clients.flatMap(({ recovering }) => recovering?.isAlive === true ? [recovering] : []),
      (process) => World.end(fleet.world, process, "it was killed")
    ),
  "freeze": (fleet) =>
    to(fleet, processes(fleet), (process) => {
      World.freeze(process)
      lasting(fleet, () => World.thaw(fleet.world, process))
    }),
  "part two machines": (fleet) =>
    to(fleet, links(fleet), ({ back, there }) => {
      for (const way of [there, back]) Network.block(way)
      lasting(fleet, () => [there, back].forEach((way) => Network.unblock(fleet.world, way)))
    }),
  "cut one way": (fleet) =>
    to(fleet, links(fleet).flatMap(({ back, there }) => [there, back]), (way) => {
      Network.block(way)
      lasting(fleet, () => Network.unblock(fleet.world, way))
    }),
  "delay": (fleet) =>
    to(fleet, links(fleet).flatMap(({ back, there }) => [there, back]), (way) => {
      const { latency } = way
      way.latency = Random.skewed(fleet.world.random, latency, 3000)
      lasting(fleet, () => way.latency = latency)
    }),
  "reset a connection": (fleet) =>
    to(
      fleet,
      openEnds(fleet),
      (end) =>
        Network.breakUp(fleet.world, end, { afterMillis: Random.skewed(fleet.world.random, 1, 2000), isHalf: false })
    ),
  "half-close a connection": (fleet) =>
    to(
      fleet,
      openEnds(fleet),
      (end) =>
        Network.breakUp(fleet.world, end, { afterMillis: Random.skewed(fleet.world.random, 1, 2000), isHalf: true })
    ),
  "lose a response": (fleet) =>
    to(fleet, links(fleet), (link) => {
      link.losesResponse = Random.pick(fleet.world.random, ["*", "Dispatch", "Dispatch", "AcquireLease", "ResumeLease"])
    }),
  "fill a disk": (fleet) =>
    to(fleet, fleet.nodes, ({ disk }) => {
      disk.isFull = true
      lasting(fleet, () => disk.isFull = false)
    }),
  "set a clock": (fleet) =>
    to(fleet, [...fleet.nodes, ...fleet.clients], (machine: World.Machine) => {
      machine.clockError = Random.int(fleet.world.random, -86_400_000 * 400, 86_400_000 * 400)
    }),
  "swizzle": (fleet) => {
    const { random } = fleet.world
    const some = Random.shuffled(random, links(fleet)).slice(0, Random.int(random, 2, 6))
    let millis = 0
    for (const { back, there } of some) {
      millis += Random.between(random, 0, 2000)
      World.after(fleet.world, undefined, millis, "a link stops", () => [there, back].forEach(Network.block))
    }
    for (const { back, there } of Random.shuffled(random, some)) {
      millis += Random.between(random, 0, 3000)
      World.after(
        fleet.world,
        undefined,
        millis,
        "a link goes on",
        () => [there, back].forEach((way) => Network.unblock(fleet.world, way))
      )
    }
    return some.length > 0
  }
}

/** Faults that are of interest when a client is gone. */
const ofRecoveries = [
  "kill a node",
  "cut the power",
  "end a node",
  "freeze",
  "kill a recovery",
  "fill a disk",
  "swizzle"
]

const soonAfter = (fleet: Fleet, most: number): void => {
  const { random } = fleet.world
  const kind = Random.pick(random, ofRecoveries)
  lasting(fleet, () => happen(fleet, kind), most)
}

const happen = (fleet: Fleet, kind: string): void => {
  World.note(fleet.world, `fault: ${kind}`)
  if (faults[kind]!(fleet)) World.count(fleet.world, `fault ${kind}`)
}

/** Names of all faults. */
export const names = Object.keys(faults)

/** Has faults happen, at random, between two times. */
export const plan = (fleet: Fleet, from: number, until: number, count: number): void => {
  const { random, now } = { random: fleet.world.random, now: fleet.world.now }
  // Few kinds in each run: what is rare together with all others is frequent in some of them.
  const kinds = Random.shuffled(random, names).slice(0, Random.int(random, 1, 6))
  if (Random.chance(random, 0.3)) {
    World.after(
      fleet.world,
      undefined,
      Random.between(random, from, until) - now,
      "",
      () => happen(fleet, "kill a client")
    )
  }
  for (let i = 0; i < count; i++) {
    const kind = Random.pick(random, kinds)
    World.after(fleet.world, undefined, Random.between(random, from, until) - now, "", () => happen(fleet, kind))
  }
}

/** Everything is mended: what is dead is started again, what waits goes on, what is cut is open. */
export const heal = (fleet: Fleet): void => {
  const { world } = fleet
  for (const link of links(fleet)) {
    link.losesResponse = ""
    for (const way of [link.there, link.back]) {
      way.latency = Math.min(way.latency, 20)
      Network.unblock(world, way)
    }
  }
  for (const machine of fleet.nodes) {
    machine.disk.isFull = false
    machine.isBad = false
    if (machine.node !== undefined) Node.offerCpus(machine.node, machine.cpus)
    if (machine.node?.process.isFrozen === true) World.thaw(world, machine.node.process)
    Fleet.startNode(fleet, machine)
  }
  for (const machine of fleet.clients) {
    for (const process of [machine.client.process, machine.recovering]) {
      if (process?.isFrozen === true) World.thaw(world, process)
    }
    Fleet.startRecovering(fleet, machine, false)
  }
}
