/**
 * A simulated client: the real scheduler core, and the real encoding of what it sends and hears. Its events and actions
 * are carried out as `layers/scheduler/Engine.ts` does.
 */
import * as LastingLink from "../../src/domain/link/LastingLink.ts"
import type { NodeEvent } from "../../src/domain/NodeRpcs.ts"
import * as RecoverFile from "../../src/domain/recovery/RecoverFile.ts"
import type { JobRecord, Terms } from "../../src/domain/scheduler/JobRecord.ts"
import * as Scheduler from "../../src/domain/scheduler/Scheduler.ts"
import type { Action, Event } from "../../src/domain/scheduler/SchedulerEvent.ts"
import * as SchedulerState from "../../src/domain/scheduler/SchedulerState.ts"
import * as Trials from "../../src/domain/scheduler/Trials.ts"
import { countReplies, encodeJobs, noBytes } from "../../src/domain/wire/Entries.ts"
import * as Attempts from "./Attempts.ts"
import * as Disk from "./Disk.ts"
import * as Lasting from "./Lasting.ts"
import * as Ledger from "./Ledger.ts"
import type * as Network from "./Network.ts"
import type * as Rpc from "./Rpc.ts"
import * as Tasks from "./Tasks.ts"
import * as World from "./World.ts"

/** A node that is in use. */
export interface Connected {
  readonly id: string
  readonly address: string
  readonly lasting: Lasting.Lasting
  received: number
  acknowledged: number
}

/** Ways in which a client can be wrong, to see whether the rules notice. */
export interface ClientFlaws extends Lasting.LinkFlaws {
  /** It takes replies of any attempt. */
  readonly ignoresAttempts?: boolean
  /** It takes batches of replies that it has taken. */
  readonly takesBatchesTwice?: boolean
  /** It does not hear that a node was lost. */
  readonly ignoresLosses?: boolean
  /** It runs jobs again that may have run, of all computations. */
  readonly isRash?: boolean
  /** It does not note what it has recovered. */
  readonly forgetsHandedOver?: boolean
  /** It does not wake the scheduler. */
  readonly forgetsTime?: boolean
  /** It tells the scheduler a time that runs too fast. */
  readonly hurries?: boolean
  /** It tries jobs again once more than they may. */
  readonly insists?: boolean
  /** It does not write down that there may be replies of several attempts. */
  readonly forgetsRetries?: boolean
}

/** A computation and its jobs. */
export interface Computation {
  readonly id: string
  readonly isReentrant: boolean
  readonly terms: Terms | undefined
  readonly jobs: Array<JobRecord>
}

/** See above. */
export interface Client {
  readonly world: World.World
  readonly network: Network.Network
  readonly ledger: Ledger.Ledger
  readonly process: World.Process
  readonly disk: Disk.Disk
  readonly pulseMillis: number
  /** Path of its recover file, and the key in there; undefined for none. */
  readonly recovery: { readonly path: string; readonly key: string } | undefined
  readonly flaws: ClientFlaws
  readonly state: SchedulerState.SchedulerState
  readonly nodes: Map<string, Connected>
  readonly computations: Map<string, Computation>
  readonly drained: Map<string, () => void>
  /** Computations of which it wrote down that jobs were tried again. */
  readonly retried: Set<string>
  /** Jobs that have no outcome yet. */
  open: number
  /** No more jobs will come. */
  hasSubmittedAll: boolean
  /** It closes: no node is sought any more. */
  isClosing: boolean
  readonly watchers: Set<() => void>
  events: Array<Event>
  isWaking: boolean
  /** Number of the alarm that the scheduler set last. */
  alarm: number
}

/** Batches of replies without a dispatch after which they are acknowledged by themselves, as in the product. */
const acknowledgeAfter = 16

/** A client without computations. */
export const make = (
  options: Pick<Client, "world" | "network" | "ledger" | "process" | "disk" | "pulseMillis" | "recovery" | "flaws">
): Client => ({
  ...options,
  state: SchedulerState.make(),
  nodes: new Map(),
  computations: new Map(),
  drained: new Map(),
  retried: new Set(),
  open: 0,
  hasSubmittedAll: false,
  isClosing: false,
  watchers: new Set(),
  events: [],
  isWaking: false,
  alarm: 0
})

/** Tells those who wait for something of it. */
export const tellWatchers = (client: Client): void => {
  for (const watcher of client.watchers) watcher()
}

/** Hands an event to the scheduler. */
export const post = (client: Client, event: Event): void => {
  client.events.push(event)
  if (client.isWaking) return
  client.isWaking = true
  World.soon(client.world, client.process, () => drain(client))
}

/** Appends to the recover file; false when it cannot be written. */
export const note = (client: Client, entry: RecoverFile.Entry): boolean =>
  client.recovery !== undefined &&
  Disk.append(client.world.random, client.disk, client.recovery.path, RecoverFile.encode(entry))

const noteRetried = (client: Client, computationId: string): void => {
  if (client.retried.has(computationId) || client.flaws.forgetsRetries === true) return
  client.retried.add(computationId)
  note(client, { _tag: "Retried", computationId })
}

/** What it takes for the time. */
const timeOf = ({ flaws, world }: Client): number => flaws.hurries === true ? world.now * 1.5 : world.now

const drain = (client: Client): void => {
  client.isWaking = false
  const taken = client.events
  client.events = []
  for (const event of taken) {
    if (event._tag === "NodeLost") noteLosses(client, event.nodeId)
    for (const action of Scheduler.step(client.state, event, timeOf(client))) perform(client, action)
  }
  for (const node of client.nodes.values()) {
    if (node.received - node.acknowledged >= acknowledgeAfter) send(client, node, "", noBytes)
  }
  tellWatchers(client)
}

const noteLosses = (client: Client, nodeId: string): void => {
  for (const { id, running } of client.state.computations.values()) {
    for (const job of running.values()) if (job.nodeId === nodeId) Ledger.nodeLost(client.ledger, id, job.number)
  }
}

/** Calls a node; one that does not answer is given up. */
const tell = (client: Client, nodeId: string, what: string, payload: object): void => {
  const node = client.nodes.get(nodeId)
  if (node === undefined) return
  const { lasting } = node
  Tasks.run(client.world, client.process, Lasting.use(lasting, what, payload), (answer: Rpc.Answer) => {
    if (!answer.ok) Tasks.tell(lasting.lost, answer.error.message)
  })
}

const send = (client: Client, node: Connected, computationId: string, batch: Uint8Array): void => {
  node.acknowledged = node.received
  const sequence = LastingLink.nextSequence(node.lasting.link)
  tell(client, node.id, "Dispatch", { computationId, batch, acknowledged: node.received, sequence })
}

const perform = (client: Client, action: Action): void => {
  const { ledger, world } = client
  switch (action._tag) {
    case "Dispatch": {
      const node = client.nodes.get(action.nodeId)
      if (node === undefined) return
      for (const job of action.jobs) Attempts.sent(ledger, action.computationId, job)
      const batch = encodeJobs(action.jobs.map(({ args, attempt, flags, number, timeoutMillis }) => ({
        jobId: number,
        attempt,
        flags,
        timeoutMillis,
        args
      })))
      World.count(world, "dispatches", action.jobs.length)
      return send(client, node, action.computationId, batch)
    }
    case "CancelOnNode": {
      const { computationId, jobNumbers, nodeId } = action
      return tell(client, nodeId, "CancelJobs", { computationId, jobIds: jobNumbers })
    }
    case "SetCpus":
      return tell(client, action.nodeId, "SetCpus", { computationId: action.computationId, cpus: action.cpus })
    case "Drained": {
      const key = `${action.nodeId} ${action.computationId}`
      const listener = client.drained.get(key)
      client.drained.delete(key)
      return listener?.()
    }
    case "WakeAt": {
      const alarm = ++client.alarm
      if (client.flaws.forgetsTime === true) return
      return World.after(world, client.process, Math.max(0, action.millis - timeOf(client)), "", () => {
        if (alarm === client.alarm) post(client, { _tag: "TimePassed" })
      })
    }
    case "Benched":
    case "Unbenched":
      return World.count(world, action._tag === "Benched" ? "benched nodes" : "benches lifted", 1)
    case "Retried":
      noteRetried(client, action.computationId)
      return Attempts.retried(ledger, action.computationId, action.job.number, action.reply)
    case "Requeued": {
      World.count(world, "jobs that wait again", action.jobs.length)
      const { computationId, jobs } = action
      if (jobs.some(Trials.isTried)) noteRetried(client, computationId)
      for (const { number } of jobs) Attempts.requeued(ledger, computationId, number)
      return
    }
    case "Provisional":
      return Ledger.provisional(ledger, action.computationId, action.job.number)
    case "Replied": {
      client.open--
      Attempts.ended(ledger, action.computationId, action.job, action.reply, client.process)
      return Ledger.ended(ledger, action.computationId, action.job.number, action.job.status, action.reply.attempt)
    }
    case "Ended":
      client.open--
      Attempts.ended(ledger, action.computationId, action.job, undefined, client.process)
      return Ledger.ended(ledger, action.computationId, action.job.number, action.job.status, 0)
  }
}

/** Submits jobs. */
export const submit = (client: Client, computation: Computation, jobs: ReadonlyArray<JobRecord>): void => {
  client.open += jobs.length
  computation.jobs.push(...jobs)
  post(client, { _tag: "Submitted", computationId: computation.id, jobs })
}

/** Number of the last batch of replies in a message; 0 for none. */
export const lastSequence = (message: unknown): number => {
  let last = 0
  for (const event of message as ReadonlyArray<NodeEvent>) if (event._tag === "Replies") last = event.sequence
  return last
}

/** Takes what a node tells. */
export const take = (client: Client, node: Connected, message: unknown): void => {
  for (const event of message as ReadonlyArray<NodeEvent>) {
    switch (event._tag) {
      case "Replies": {
        if (countReplies(event.batch) < 0) World.fail(`${node.address} sent replies that are none`)
        if (event.sequence <= node.received && client.flaws.takesBatchesTwice !== true) break
        if (event.sequence > node.received + 1) World.fail(`${node.address} left out a batch of replies`)
        node.received = Math.max(node.received, event.sequence)
        const batch = client.flaws.ignoresAttempts === true ? withAttempts(client, event) : event.batch
        post(client, { _tag: "Replied", nodeId: node.id, computationId: event.computationId, batch })
        break
      }
      case "CpusChanged":
        post(client, { _tag: "CpusChanged", nodeId: node.id, cpus: event.cpus })
        break
      case "Leaving":
        post(client, { _tag: "NodeLeaving", nodeId: node.id })
        break
      case "Pulse":
      case "JobFile":
    }
  }
}

/** The flaw of a client that takes any reply to a job, whatever its attempt and wherever it is from. */
const withAttempts = (
  client: Client,
  { batch, computationId }: { readonly batch: Uint8Array; readonly computationId: string }
): Uint8Array => {
  const bytes = batch.slice()
  const view = new DataView(bytes.buffer)
  const running = client.state.computations.get(computationId)?.running
  for (let offset = 0; offset < bytes.length; offset += view.getUint32(offset, true)) {
    const job = running?.get(view.getUint32(offset + 4, true))
    if (job !== undefined) view.setUint16(offset + 8, job.attempt, true)
  }
  return bytes
}

/** What is wrong. */
export const invariants = (client: Client): ReadonlyArray<string> => {
  const wrong = SchedulerState.invariants(client.state)
  // Not of a client that is wrong on purpose: to see what else would come of it.
  if (client.state.droppedReplies > 0 && client.flaws.ignoresAttempts !== true) {
    wrong.push("a reply came to the scheduler that was nobody's")
  }
  return wrong
}
