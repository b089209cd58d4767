/**
 * What is decided about a connection that outlives the sockets under it: when it is taken as broken and when its node as
 * dead, what a failed try to make it again means, and which calls are made again. A value changed in place; the layer
 * carries it out, and a simulation does.
 *
 * ```
 * Connected ──▶ Broken ──▶ (dial, resume the lease) ──▶ Connected
 *     └────────────┴──▶ Lost   nobody listens, another start of the node, no such lease, five pulses of silence
 * ```
 * Silence is counted in ticks, not read from a clock: a program that was busy or stopped for a minute has missed one
 * tick, and looks at what arrived in the meantime before it counts the next.
 */
import type { NodeUnreachable, NotLeased } from "../NodeError.ts"

/** Ticks per pulse. */
export const ticksPerPulse = 4

/**
 * Ticks of silence before a connection is taken as broken, and before the node is taken as dead: after five pulses and a
 * quarter at most, so that its jobs are elsewhere within five and a half.
 */
const [brokenAfter, deadAfter] = [10, 21]

/** Times between tries to connect again, in milliseconds: they double, from the first to the last. */
const [firstWait, lastWait] = [50, 2000]

/** See above. */
export interface LastingLink {
  phase: "Connected" | "Broken" | "Lost"
  /** Why it broke; empty before it did. */
  reason: string
  /** Since the node was heard. */
  silentTicks: number
  /** Longest time before the next try. */
  waitMillis: number
  /** Dispatches that were numbered. */
  sent: number
  /** Number of the last batch of replies that came. */
  received: number
}

/** A connection that holds a lease. */
export const make = (): LastingLink => ({
  phase: "Connected",
  reason: "",
  silentTicks: 0,
  waitMillis: firstWait,
  sent: 0,
  received: 0
})

/** What is to be done at a tick. */
export type Tick =
  /** Ask whether the node is there. */
  | "Pulse"
  /** The connection is of no use any more. */
  | "Break"
  /** Nothing: it is being made again. */
  | "Wait"
  /** The node is dead. */
  | "Lose"

/** A part of a pulse is over. */
export const tick = (link: LastingLink): Tick => {
  link.silentTicks++
  if (link.silentTicks >= deadAfter) return "Lose"
  if (link.phase !== "Connected") return "Wait"
  return link.silentTicks >= brokenAfter ? "Break" : "Pulse"
}

/** Why a node is given up that says nothing. */
export const silence = "no sign of life for five pulses"

/** The node was heard. */
export const heard = (link: LastingLink): void => {
  link.silentTicks = 0
}

/** A batch of replies came. */
export const took = (link: LastingLink, sequence: number): void => {
  link.received = sequence
}

/** Number of the next dispatch: the node takes none twice. */
export const nextSequence = (link: LastingLink): number => ++link.sent

/** The connection in use broke; false when it had already. */
export const breakUp = (link: LastingLink, reason: string): boolean => {
  if (link.phase !== "Connected") return false
  link.phase = "Broken"
  link.reason = reason
  link.waitMillis = firstWait
  return true
}

/** Milliseconds before the next try, at most; the times after it are longer. */
export const nextWait = (link: LastingLink): number => {
  const wait = link.waitMillis
  link.waitMillis = Math.min(wait * 2, lastWait)
  return wait
}

/** There is a connection again. */
export const resumed = (link: LastingLink): void => {
  if (link.phase !== "Broken") return
  link.phase = "Connected"
  link.silentTicks = 0
}

/** There will be no connection any more; false when that was so before. */
export const lose = (link: LastingLink): boolean => {
  if (link.phase === "Lost") return false
  link.phase = "Lost"
  return true
}

/** Why a try failed. */
type Failure = NodeUnreachable | { readonly _tag: "NotLeased" | "VersionMismatch"; readonly message: string }

/** Why there is no use in another try; undefined when there is. */
export const hopeless = (link: LastingLink, failure: Failure): string | undefined => {
  switch (failure._tag) {
    case "NodeUnreachable":
      return failure.isGone === true ? failure.reason : undefined
    case "NotLeased":
      return `${link.reason}, and it has given the client up since`
    case "VersionMismatch":
      return failure.message
  }
}

/** Says that the node is another start of the one that was connected to, which has no lease of before. */
export const restarted = "it was restarted"

/** What tells that a connection broke. */
export type Broken = NodeUnreachable | NotLeased

/** Whether a call failed because its connection did. */
export const isBroken = (error: unknown): error is Broken =>
  typeof error === "object" && error !== null && "_tag" in error &&
  (error._tag === "NodeUnreachable" || error._tag === "NotLeased")

/**
 * Whether a call is made again that failed: over the next connection, and with a lease that the node has forgotten just
 * once more, for it may have been another connection's by then.
 */
export const isRepeated = (error: unknown, wasForgotten: boolean): error is Broken =>
  isBroken(error) && (error._tag === "NodeUnreachable" || !wasForgotten)

/** Why a connection broke, by what told it. */
export const reasonOf = (error: Broken): string => error._tag === "NodeUnreachable" ? error.reason : error.message
