/**
 * A simulated network. What is sent over a connection arrives in order, after a while, or not at all: a connection that
 * is reset loses what was under way, from some frame on, and its two ends learn of that at different times, or one never
 * does. A way that is cut holds what is sent until it is open again, as TCP does; each direction can be cut for itself.
 * Frames of an old connection may come after those of a newer one.
 */
import * as Random from "./Random.ts"
import type * as Tasks from "./Tasks.ts"
import * as World from "./World.ts"

/** What is sent. */
export type Frame = unknown

/** One end of a connection. */
export interface End {
  readonly id: number
  readonly process: World.Process
  readonly way: Way
  peer: End
  /** This side has not closed it and has not heard that it is closed. */
  isOpen: boolean
  /** Nothing more arrives at the other side. */
  isCut: boolean
  readonly inbox: Array<Frame>
  /** Nothing that was sent later arrives before. */
  arrivesAt: number
  onFrame: (frame: Frame) => void
  onClose: () => void
}

/** One direction between two machines. */
export interface Way {
  readonly name: string
  isBlocked: boolean
  /** Milliseconds, at least; each frame takes up to twice that. */
  latency: number
  /** What waits for the way to be open. */
  readonly held: Array<() => void>
}

/** Both directions between a client's machine and a node's. */
export interface Link {
  readonly there: Way
  readonly back: Way
  /** Connections that may not be closed on both sides. */
  readonly ends: Set<End>
  /**
   * The next response to such a call (to any: "*") is lost with its connection: it was carried out, and its caller does
   * not know. Empty for none.
   */
  losesResponse: string
}

/** The network. */
export interface Network {
  readonly links: Map<string, Link>
  /** Who accepts connections, by machine. */
  readonly listeners: Map<string, { readonly process: World.Process; readonly accept: (end: End) => void }>
  connections: number
}

/** Marks the end of what a side sends. */
const closing = Symbol("closing")

/** A network without machines. */
export const make = (): Network => ({ links: new Map(), listeners: new Map(), connections: 0 })

/** What is between two machines. */
export const linkOf = (world: World.World, network: Network, from: string, to: string): Link => {
  const name = `${from}>${to}`
  const known = network.links.get(name)
  if (known !== undefined) return known
  const latency = Random.skewed(world.random, 0.05, 20)
  const way = (label: string): Way => ({ name: label, isBlocked: false, latency, held: [] })
  const link = { there: way(name), back: way(`${to}>${from}`), ends: new Set<End>(), losesResponse: "" }
  network.links.set(name, link)
  return link
}

const delayOf = (world: World.World, way: Way): number => way.latency * (1 + Random.next(world.random))

/** Has something happen at the end of a way, once it is open. */
const travel = (world: World.World, way: Way, millis: number, arrive: () => void): void =>
  World.after(world, undefined, millis, "", () => {
    if (way.isBlocked) way.held.push(arrive)
    else arrive()
  })

/** Cuts a way. */
export const block = (way: Way): void => {
  way.isBlocked = true
}

/** Opens a way again: what was held arrives, in order. */
export const unblock = (world: World.World, way: Way): void => {
  way.isBlocked = false
  let millis = 0
  for (const arrive of way.held.splice(0)) {
    millis += Random.between(world.random, 0, 0.2)
    travel(world, way, millis, arrive)
  }
}

const hearClosed = (end: End): void => {
  if (!end.isOpen) return
  end.isOpen = false
  end.onClose()
}

/** The kernel of the machine has the frame; the process takes it when it can. */
const deliver = (world: World.World, end: End): void => {
  if (end.isCut) return
  const frame = end.inbox.shift()
  if (!end.process.isAlive || !end.isOpen) {
    // Nobody is there any more, which the sender is told.
    if (frame !== closing) reset(world, end.peer)
    return
  }
  World.after(world, end.process, 0, "", () => {
    if (!end.isOpen) return
    if (frame === closing) hearClosed(end)
    else end.onFrame(frame)
  })
}

/** Tells an end that the other is not there any more. */
const reset = (world: World.World, end: End): void => {
  travel(world, end.way, delayOf(world, end.way), () => World.after(world, end.process, 0, "", () => hearClosed(end)))
}

/** Sends a frame to the other end. */
export const send = (world: World.World, from: End, frame: Frame): void => {
  const { peer: to } = from
  if (!from.isOpen || to.isCut) return
  to.inbox.push(frame)
  to.arrivesAt = Math.max(to.arrivesAt, world.now + delayOf(world, to.way))
  travel(world, to.way, to.arrivesAt - world.now, () => deliver(world, to))
}

/** Closes this end; what was sent before still arrives. */
export const close = (world: World.World, end: End): void => {
  if (!end.isOpen) return
  send(world, end, closing)
  end.isOpen = false
}

/** Breaks a connection: from some frame on nothing arrives; each end is told, or only one is. */
export const breakUp = (
  world: World.World,
  end: End,
  { afterMillis, isHalf }: { readonly afterMillis: number; readonly isHalf: boolean }
): void => {
  for (const one of [end, end.peer]) {
    if (!Random.chance(world.random, 0.5)) one.isCut = true
    else World.after(world, undefined, Random.between(world.random, 0, afterMillis), "", () => one.isCut = true)
  }
  const told = isHalf ? [end] : [end, end.peer]
  for (const one of told) {
    World.after(world, one.process, Random.between(world.random, 0, afterMillis), "", () => {
      one.isCut = true
      one.peer.isCut = true
      hearClosed(one)
    })
  }
}

/** How long a connection may take to be accepted, in milliseconds. */
const openMillis = 5000

/** What became of dialling. */
export type Dialled = End | "Refused" | "Timeout"

/** Connects a process to whoever listens on a machine. */
export const dial = (
  world: World.World,
  network: Network,
  process: World.Process,
  machine: string
): Tasks.Wait<Dialled> =>
(resume) => {
  const link = linkOf(world, network, process.machine.name, machine)
  let isWanted = true
  const answer = (what: Dialled): void => {
    World.after(world, process, 0, "", () => {
      if (!isWanted) return typeof what === "string" ? undefined : close(world, what)
      isWanted = false
      resume(what)
    })
  }
  World.after(world, process, openMillis, "", () => {
    if (!isWanted) return
    isWanted = false
    resume("Timeout")
  })
  travel(world, link.there, delayOf(world, link.there), () => {
    const listener = network.listeners.get(machine)
    if (listener?.process.isAlive !== true) {
      return travel(world, link.back, delayOf(world, link.back), () => answer("Refused"))
    }
    const [mine, theirs] = join(world, network, link, process, listener.process)
    World.after(world, listener.process, 0, "", () => listener.accept(theirs))
    travel(world, link.back, delayOf(world, link.back), () => answer(mine))
  })
  return () => {
    isWanted = false
  }
}

const join = (
  world: World.World,
  network: Network,
  link: Link,
  client: World.Process,
  server: World.Process
): readonly [End, End] => {
  const id = ++network.connections
  const end = (process: World.Process, way: Way): End => ({
    id,
    process,
    way,
    peer: undefined as unknown as End,
    isOpen: true,
    isCut: false,
    inbox: [],
    arrivesAt: 0,
    onFrame: () => {},
    onClose: () => {}
  })
  const mine = end(client, link.back)
  const theirs = end(server, link.there)
  mine.peer = theirs
  theirs.peer = mine
  for (const one of [mine, theirs]) {
    link.ends.add(one)
    // The kernel closes what a process leaves open; of a machine without power nothing is heard.
    one.process.onEnd.add(() => {
      if (one.isOpen) close(world, one)
      link.ends.delete(one)
    })
  }
  return [mine, theirs]
}

/** A machine lost its power: nobody is told that its connections are gone. */
export const silence = (network: Network, process: World.Process): void => {
  for (const { ends } of network.links.values()) {
    for (const end of ends) {
      if (end.process !== process) continue
      end.isOpen = false
      end.isCut = true
      end.peer.isCut = true
    }
  }
}
