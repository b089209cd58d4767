/** Calls and streams over a connection of the simulated network, as `effect/rpc` makes them over sockets: one message of a stream at a time, and a ping every five seconds. */
import { NodeUnreachable } from "../../src/domain/NodeError.ts"
import * as Network from "./Network.ts"
import * as Random from "./Random.ts"
import * as Tasks from "./Tasks.ts"
import * as World from "./World.ts"

/** Why a call failed: an error of `domain/NodeError.ts`. */
export interface Failure {
  readonly _tag: string
  readonly message: string
}

/** What became of a call. */
export type Answer<A = unknown> =
  | { readonly ok: true; readonly value: A }
  | { readonly ok: false; readonly error: Failure }

/** It succeeded. */
export const done = <A>(value: A): Answer<A> => ({ ok: true, value })

/** It failed. */
export const failed = (error: Failure): Answer<never> => ({ ok: false, error })

type Frame =
  | { readonly _tag: "Call"; readonly id: number; readonly what: string; readonly payload: unknown }
  | { readonly _tag: "Answer"; readonly id: number; readonly answer: Answer }
  | { readonly _tag: "Told"; readonly id: number; readonly message: unknown }
  | { readonly _tag: "Ack"; readonly id: number }
  | { readonly _tag: "Ping" | "Pong" }

/** The side that asks. */
export interface Client {
  readonly address: string
  readonly end: Network.End
  readonly world: World.World
  readonly calls: Map<number, (answer: Answer) => void>
  readonly streams: Map<number, (message: unknown) => void>
  nextId: number
  isPinged: boolean
  /** What the node said first. */
  greeting: Greeting
}

/** What a node says first. */
export interface Greeting {
  readonly incarnation: string
  readonly cpus: number
}

/** How long a node may take to say hello, and how often it is asked whether it is there. */
const [helloMillis, pingMillis] = [5000, 5000]

const unreachable = (address: string, reason: string, isGone = false): NodeUnreachable =>
  new NodeUnreachable({ address, reason, ...(isGone ? { isGone } : {}) })

const lose = (client: Client, reason: string): void => {
  if (client.calls.size === 0) return
  const answer = failed(unreachable(client.address, reason))
  const calls = [...client.calls.values()]
  client.calls.clear()
  client.streams.clear()
  for (const resume of calls) resume(answer)
}

/** Gives the connection up. */
export const close = (client: Client): void => {
  Network.close(client.world, client.end)
  lose(client, "the connection was closed")
}

/** Asks for something; `told` hears what comes before the answer. */
export const call = (
  client: Client,
  what: string,
  payload: unknown,
  told?: (message: unknown) => void
): Tasks.Wait<Answer> =>
(resume) => {
  if (!client.end.isOpen) {
    resume(failed(unreachable(client.address, "the connection was closed")))
    return
  }
  const id = client.nextId++
  client.calls.set(id, resume)
  if (told !== undefined) client.streams.set(id, told)
  Network.send(client.world, client.end, { _tag: "Call", id, what, payload } satisfies Frame)
  return () => {
    client.calls.delete(id)
    client.streams.delete(id)
  }
}

const hear = (client: Client, frame: Frame): void => {
  switch (frame._tag) {
    case "Answer": {
      const resume = client.calls.get(frame.id)
      client.calls.delete(frame.id)
      client.streams.delete(frame.id)
      return resume?.(frame.answer)
    }
    case "Told": {
      const told = client.streams.get(frame.id)
      if (told === undefined) return
      told(frame.message)
      return Network.send(client.world, client.end, { _tag: "Ack", id: frame.id } satisfies Frame)
    }
    case "Pong":
      client.isPinged = false
      return
    default:
  }
}

const keepPinging = (world: World.World, client: Client): void =>
  World.after(world, client.end.process, pingMillis, "", () => {
    if (!client.end.isOpen) return
    if (client.isPinged) return close(client)
    client.isPinged = true
    Network.send(world, client.end, { _tag: "Ping" } satisfies Frame)
    keepPinging(world, client)
  })

/** Connects to a machine and says hello. */
export const connect = function*(
  world: World.World,
  network: Network.Network,
  process: World.Process,
  machine: string
): Tasks.Task<Client | NodeUnreachable> {
  const dialled = yield* Tasks.wait(Network.dial(world, network, process, machine))
  if (dialled === "Refused") return unreachable(machine, "connection refused", true)
  if (dialled === "Timeout") return unreachable(machine, "no answer in time")
  const client: Client = {
    address: machine,
    end: dialled,
    world,
    calls: new Map(),
    streams: new Map(),
    nextId: 1,
    isPinged: false,
    greeting: { incarnation: "", cpus: 0 }
  }
  dialled.onFrame = (frame) => hear(client, frame as Frame)
  dialled.onClose = () => lose(client, "the connection was reset")
  keepPinging(world, client)
  const answer = yield* Tasks.wait(
    Tasks.first<Answer | "Time">(call(client, "Hello", {}), Tasks.sleep(world, process, helloMillis))
  )
  if (answer === "Time" || !answer.ok) {
    close(client)
    return unreachable(machine, answer === "Time" ? "no answer in time" : answer.error.message)
  }
  client.greeting = answer.value as Greeting
  return client
}

/** What a node has to say in a stream: the next message when it is asked for; `undefined` at the end. */
export type Source = () => Tasks.Task<unknown>

/** Answers calls: with a value, or with messages first. */
export type Handler = (
  what: string,
  payload: never,
  connection: number,
  stream: (source: Source) => Tasks.Task<void>
) => Tasks.Task<Answer>

/** Serves a connection that was accepted. */
export const serve = (
  world: World.World,
  network: Network.Network,
  end: Network.End,
  handler: Handler,
  onClosed: (connection: number) => void
): void => {
  const acks = new Map<number, Tasks.Signal<void>>()
  const tasks = new Set<Tasks.Running>()
  const link = (): Network.Link =>
    Network.linkOf(world, network, end.peer.process.machine.name, end.process.machine.name)
  const respond = (id: number, what: string, answer: Answer): void => {
    const { losesResponse } = link()
    if (losesResponse === what || (losesResponse === "*" && what !== "Hello")) {
      link().losesResponse = ""
      World.note(world, `the response to ${what} is lost with its connection`)
      end.peer.isCut = true
      Network.breakUp(world, end, { afterMillis: 50, isHalf: Random.chance(world.random, 0.5) })
      // Whoever asked learns of it in any case.
      return World.after(world, end.peer.process, 60, "", () => {
        if (!end.peer.isOpen) return
        end.peer.isOpen = false
        end.peer.onClose()
      })
    }
    Network.send(world, end, { _tag: "Answer", id, answer } satisfies Frame)
  }
  const stream = function*(id: number, source: Source): Tasks.Task<void> {
    while (true) {
      const message = yield* source()
      if (message === undefined || !end.isOpen) return
      const ack = Tasks.signal<void>()
      acks.set(id, ack)
      Network.send(world, end, { _tag: "Told", id, message } satisfies Frame)
      yield* Tasks.wait(Tasks.told(ack))
    }
  }
  end.onFrame = (received) => {
    const frame = received as Frame
    if (frame._tag === "Ping") return Network.send(world, end, { _tag: "Pong" } satisfies Frame)
    if (frame._tag === "Ack") {
      const ack = acks.get(frame.id)
      if (ack !== undefined) Tasks.tell(ack, undefined)
      return
    }
    if (frame._tag !== "Call") return
    const { id, payload, what } = frame
    const running = Tasks.run(
      world,
      end.process,
      handler(what, payload as never, end.id, (source) => stream(id, source)),
      (answer) => {
        tasks.delete(running)
        respond(id, what, answer)
      }
    )
    tasks.add(running)
  }
  end.onClose = () => {
    // Who asked is gone: what is under way for him ends, as far as it only waits.
    for (const task of tasks) task.cancel()
    onClosed(end.id)
  }
}
