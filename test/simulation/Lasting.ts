/** A connection that outlives those under it: the real decisions (`domain/link/LastingLink.ts`), carried out as `layers/link/NodeLinkLasting.ts` does. */
import * as LastingLink from "../../src/domain/link/LastingLink.ts"
import { NodeUnreachable } from "../../src/domain/NodeError.ts"
import type * as Network from "./Network.ts"
import * as Random from "./Random.ts"
import * as Rpc from "./Rpc.ts"
import * as Tasks from "./Tasks.ts"
import * as World from "./World.ts"

/** Ways in which it can be wrong, to see whether the rules notice. */
export interface LinkFlaws {
  /** It numbers a dispatch anew that it makes again. */
  readonly renumbers?: boolean
  /** It does not make calls again. */
  readonly givesUpCalls?: boolean
  /** It listens from the beginning after a break. */
  readonly forgetsReceived?: boolean
}

/** See above. */
export interface Lasting {
  readonly world: World.World
  readonly network: Network.Network
  readonly process: World.Process
  readonly address: string
  readonly leaseId: string
  readonly clientId: string
  readonly flaws: LinkFlaws
  readonly link: LastingLink.LastingLink
  readonly greeting: Rpc.Greeting
  live: Rpc.Client | undefined
  back: Tasks.Signal<NodeUnreachable | "Back">
  readonly lost: Tasks.Signal<string>
  isOver: boolean
}

/** Makes a connection lasting that has acquired a lease. */
export const make = (
  options: Pick<Lasting, "world" | "network" | "process" | "clientId" | "leaseId" | "flaws">,
  client: Rpc.Client,
  pulseMillis: number
): Lasting => {
  const self: Lasting = {
    ...options,
    address: client.address,
    link: LastingLink.make(),
    greeting: client.greeting,
    live: client,
    back: Tasks.signal(),
    lost: Tasks.signal(),
    isOver: false
  }
  keepTicking(self, pulseMillis / LastingLink.ticksPerPulse)
  return self
}

/** The lease is given back, or the node lost: nothing more is tried. */
export const end = (self: Lasting): void => {
  self.isOver = true
  if (self.live !== undefined) Rpc.close(self.live)
}

const lose = (self: Lasting, why: string): void => {
  if (!LastingLink.lose(self.link)) return
  Tasks.tell(self.lost, why)
  Tasks.tell(self.back, new NodeUnreachable({ address: self.address, reason: why }))
}

const breakUp = (self: Lasting, dead: Rpc.Client, why: string): void => {
  if (self.live !== dead || !LastingLink.breakUp(self.link, why)) return
  World.note(self.world, `${self.process.name} lost its connection to ${self.address}: ${why}`)
  self.live = undefined
  self.back = Tasks.signal()
  World.soon(self.world, self.process, () => Rpc.close(dead))
  Tasks.run(self.world, self.process, resume(self))
}

const resume = function*(self: Lasting): Tasks.Task<void> {
  const { address, clientId, leaseId, link, network, process, world } = self
  while (self.live === undefined && !self.isOver && link.phase === "Broken") {
    const wait = Random.between(world.random, 0, LastingLink.nextWait(link))
    yield* Tasks.wait(Tasks.sleep(world, process, wait))
    const dialled = yield* Rpc.connect(world, network, process, address)
    const tried = dialled instanceof NodeUnreachable
      ? Rpc.failed(dialled)
      : dialled.greeting.incarnation === self.greeting.incarnation
      ? yield* Tasks.wait(Rpc.call(dialled, "ResumeLease", { leaseId, clientId }))
      : Rpc.failed(new NodeUnreachable({ address, reason: LastingLink.restarted, isGone: true }))
    const isConnected = !(dialled instanceof NodeUnreachable)
    if (tried.ok && isConnected && link.phase === "Broken" && !self.isOver) {
      self.live = dialled
      LastingLink.resumed(link)
      World.count(world, "resumed connections")
      Tasks.tell(self.back, "Back")
      return
    }
    if (isConnected) Rpc.close(dialled)
    if (tried.ok) return
    const reason = LastingLink.hopeless(link, tried.error as NodeUnreachable)
    if (reason !== undefined) return lose(self, reason)
  }
}

const keepTicking = (self: Lasting, millis: number): void =>
  World.after(self.world, self.process, millis, "", () => {
    if (self.isOver || self.link.phase === "Lost") return
    tick(self)
    keepTicking(self, millis)
  })

const tick = (self: Lasting): void => {
  const wanted = LastingLink.tick(self.link)
  if (wanted === "Lose") return lose(self, LastingLink.silence)
  const { leaseId, live, process, world } = self
  if (live === undefined || wanted === "Wait") return
  if (wanted === "Break") return breakUp(self, live, "no sign of life")
  const ask = function*(): Tasks.Task<void> {
    const answer = yield* Tasks.wait(Rpc.call(live, "Pulse", { leaseId }))
    if (self.live !== live) return
    if (answer.ok) LastingLink.heard(self.link)
    else breakUp(self, live, LastingLink.reasonOf(answer.error as NodeUnreachable))
  }
  Tasks.run(world, process, ask())
}

/** Makes a call, again when the connection breaks meanwhile. */
export const use = function*(self: Lasting, what: string, payload: object): Tasks.Task<Rpc.Answer> {
  let isForgotten = false
  let isAgain = false
  while (true) {
    const now = self.live
    if (now === undefined) {
      const back = yield* Tasks.wait(Tasks.told(self.back))
      if (back !== "Back") return Rpc.failed(back)
      continue
    }
    const told = isAgain && self.flaws.renumbers === true && "sequence" in payload
      ? { ...payload, sequence: LastingLink.nextSequence(self.link) }
      : payload
    const answer = yield* Tasks.wait(Rpc.call(now, what, { ...told, leaseId: self.leaseId }))
    if (answer.ok || !LastingLink.isRepeated(answer.error, isForgotten) || self.isOver) return answer
    breakUp(self, now, LastingLink.reasonOf(answer.error))
    if (self.flaws.givesUpCalls === true) return Rpc.done(undefined)
    World.count(self.world, "calls made again")
    isForgotten = answer.error._tag === "NotLeased"
    isAgain = true
  }
}

/** Hears what the node tells, over all connections, until it is lost. */
export const listen = function*(
  self: Lasting,
  told: (message: unknown) => void,
  received: (message: unknown) => number
): Tasks.Task<void> {
  while (true) {
    const now = self.live
    if (now === undefined) {
      const back = yield* Tasks.wait(Tasks.told(self.back))
      if (back !== "Back") return
      continue
    }
    const from = self.flaws.forgetsReceived === true ? 0 : self.link.received
    const answer = yield* Tasks.wait(
      Rpc.call(now, "Events", { leaseId: self.leaseId, received: from }, (message) => {
        LastingLink.heard(self.link)
        LastingLink.took(self.link, Math.max(self.link.received, received(message)))
        told(message)
      })
    )
    if (self.isOver || answer.ok) return
    breakUp(self, now, LastingLink.reasonOf(answer.error as NodeUnreachable))
  }
}
