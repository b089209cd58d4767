/**
 * What is done with every datagram that arrives, before anybody acts on it: read,
 * its signature and age checked, duplicates dropped, and what was dropped counted
 * for people who wonder why nothing is found. Time is an input, in milliseconds
 * since 1970.
 */
import { Result } from "effect"
import * as Datagram from "./Datagram.ts"
import * as ReplayWindow from "./ReplayWindow.ts"

/** Why a datagram is not heeded. */
export type Dropped = Datagram.Refusal | "replayed" | "stale"

/** State of an inbox; changed in place. */
export interface Inbox {
  readonly mac: Datagram.Mac | undefined
  readonly window: ReplayWindow.ReplayWindow
  readonly dropped: Map<Dropped, { count: number; last: string }>
  /** How many milliseconds the clocks of others are behind this one, by host; only what is worth telling. */
  readonly clocks: Map<string, number>
}

/** Difference of clocks that is worth telling, in milliseconds; less may be the time that a datagram was under way. */
export const tellMillis = 10_000

/** Hosts whose clocks are kept, at most. */
const clockCapacity = 64

/** An empty inbox; `mac` when there is a secret. */
export const make = (mac: Datagram.Mac | undefined): Inbox => ({
  mac,
  window: ReplayWindow.make(),
  dropped: new Map(),
  clocks: new Map()
})

const drop = (inbox: Inbox, why: Dropped, source: string): Result.Result<never, Dropped> => {
  const known = inbox.dropped.get(why)
  inbox.dropped.set(why, { count: (known?.count ?? 0) + 1, last: source })
  return Result.fail(why)
}

const noteClock = (inbox: Inbox, source: string, behindMillis: number): void => {
  inbox.clocks.delete(source)
  if (Math.abs(behindMillis) < tellMillis) return
  inbox.clocks.set(source, behindMillis)
  if (inbox.clocks.size > clockCapacity) inbox.clocks.delete(inbox.clocks.keys().next().value!)
}

/**
 * Takes a datagram that arrived from a host. What repeats a nonce of ours (`isAsked`) is as fresh as that, whatever the
 * clock of its sender says; and what is not signed can say any time, so it is not asked for it.
 */
export const take = (
  inbox: Inbox,
  bytes: Uint8Array,
  source: string,
  now: number,
  isAsked: (nonce: string) => boolean = () => false
): Result.Result<Datagram.Received, Dropped> => {
  const read = Datagram.decode(bytes, inbox.mac)
  if (Result.isFailure(read)) return drop(inbox, read.failure, source)
  const { message, nonce, sentAtMillis } = read.success
  noteClock(inbox, source, now - sentAtMillis)
  const isAnswer = "inReplyTo" in message && message.inReplyTo !== undefined && isAsked(message.inReplyTo)
  const isTimeless = isAnswer || inbox.mac === undefined
  const verdict = ReplayWindow.check(inbox.window, { nonce, sentAtMillis: isTimeless ? now : sentAtMillis }, now)
  if (verdict._tag === "Fresh") return Result.succeed(read.success)
  return drop(inbox, verdict._tag === "Replayed" ? "replayed" : "stale", source)
}

/** What a kind of dropped datagrams means, for whoever operates this side. */
export const meaning: Readonly<Record<Exclude<Dropped, "junk" | "replayed">, string>> = {
  version: "of another version of dispy: install the same version everywhere",
  unsigned: "without a signature, though there is a secret here: give everybody the same secret",
  signature: "signed with another secret: give everybody the same secret",
  signed: "signed with a secret, and there is none here: give everybody the same secret",
  stale: "more than five minutes old: set the clocks, with NTP say"
}

const isTold = (why: Dropped): why is keyof typeof meaning => why in meaning

/** What it means that a datagram which came back from a node cannot be read, or is none but `Unheeded`. */
export const explain = (read: Result.Result<Datagram.Received, Dropped>): string | undefined => {
  if (Result.isFailure(read)) return isTold(read.failure) ? meaning[read.failure] : undefined
  return read.success.message._tag === "Unheeded" ? meaning.stale : undefined
}

/** Whether who sent this is told that it is not heeded: a ping of somebody who has dispy, and no attacker's news. */
export const deservesWord = (bytes: Uint8Array, why: Dropped): boolean => isTold(why) && Datagram.isPingLong(bytes)

/** What was dropped, and whose clocks are wrong, in sentences; empty when all is well. */
export const describe = (inbox: Inbox): ReadonlyArray<string> => [
  ...[...inbox.dropped].flatMap(([why, { count, last }]) =>
    isTold(why) ? [`${count} ${count === 1 ? "datagram" : "datagrams"} ${meaning[why]} (the last from ${last})`] : []
  ),
  ...[...inbox.clocks].map(([host, behind]) =>
    `the clock of ${host} is ${Math.round(Math.abs(behind) / 1000)} s ${behind > 0 ? "behind" : "ahead of"} this one`
  )
]
