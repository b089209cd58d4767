/**
 * Who holds a node. One client at a time; the same client gets the same lease
 * again, for another computation or after its connection broke, as long as the
 * lease has not run out. Pure: the layer keeps one value, asks here, and runs the
 * timer and the closing that the answer calls for.
 *
 * ```
 *          acquire                    release, expire             closed
 *  Free ─────────────▶ Held ───────────────────────▶ Closing ─────────────▶ Free
 *                      │  ▲                             ▲
 *  last connection     ▼  │  same client again,         │ end: its jobs have ended, another client
 *  broke            Held, countdown n   or resume       │ wants the node, what was kept is forgotten
 *                      │  ▲                             │
 *  expire, with things ▼  │  same client again,         │
 *  worth keeping      Orphan    or resume ──────────────┘
 * ```
 * Countdowns are numbered, so that a timer of an earlier one expires nothing,
 * and no clock is read that could jump.
 */

/** The node is free, held, works on for a client that is gone, or closes the computations of a lease that ended. */
export type Leases =
  | { readonly _tag: "Free"; readonly countdowns: number }
  | {
    readonly _tag: "Held"
    readonly holder: Holder
    /** Connections that acquired the lease and are still there. */
    readonly connections: ReadonlySet<number>
    /** Number of the countdown that runs while there is no connection; undefined while there is one. */
    readonly countdown: number | undefined
    readonly countdowns: number
  }
  | {
    readonly _tag: "Orphan"
    readonly holder: Holder
    /** Whether the client may still be trying to come back. */
    readonly isAwaited: boolean
    readonly countdowns: number
  }
  | { readonly _tag: "Closing"; readonly holder: Holder; readonly countdowns: number }

/** Whom a lease was given to. */
export interface Holder {
  readonly leaseId: string
  readonly clientId: string
  readonly clientName: string
}

/** A request for the node. */
export interface Acquisition {
  readonly clientId: string
  readonly clientName: string
  readonly connection: number
  /** Id for the lease if it is a new one. */
  readonly newLeaseId: string
}

/** What becomes of an acquisition. */
export type Decision =
  /** The client has the node now. */
  | { readonly _tag: "Granted"; readonly leaseId: string; readonly isNew: boolean }
  /** Another client holds it. */
  | { readonly _tag: "Busy"; readonly holder: string }
  /** The client's own earlier lease is still closing: ask again when that is done. */
  | { readonly _tag: "ClosingOwn" }

/** A node that nobody holds. */
export const free: Leases = { _tag: "Free", countdowns: 0 }

/** Gives the node to a client, or says why not. */
export const acquire = (leases: Leases, request: Acquisition): readonly [Leases, Decision] => {
  if (leases._tag === "Free") {
    const { clientId, clientName, connection, newLeaseId } = request
    return [
      {
        _tag: "Held",
        holder: { leaseId: newLeaseId, clientId, clientName },
        connections: new Set([connection]),
        countdown: undefined,
        countdowns: leases.countdowns
      },
      { _tag: "Granted", leaseId: newLeaseId, isNew: true }
    ]
  }
  if (leases.holder.clientId !== request.clientId) {
    return [leases, { _tag: "Busy", holder: leases.holder.clientName }]
  }
  if (leases._tag === "Closing") return [leases, { _tag: "ClosingOwn" }]
  const connections = leases._tag === "Held" ? leases.connections : []
  return [
    heldBy(leases, new Set([...connections, request.connection])),
    { _tag: "Granted", leaseId: leases.holder.leaseId, isNew: false }
  ]
}

/** Another connection takes over a lease that is held, or was until its client was gone; undefined for another one. */
export const resume = (
  leases: Leases,
  { clientId, connection, leaseId }: {
    readonly leaseId: string
    readonly clientId: string
    readonly connection: number
  }
): Leases | undefined =>
  (leases._tag === "Held" || leases._tag === "Orphan") && leases.holder.leaseId === leaseId &&
    leases.holder.clientId === clientId
    ? heldBy(leases, new Set([connection]))
    : undefined

/** A connection broke. When it was the holder's last, a countdown begins. */
export const disconnect = (leases: Leases, connection: number): Leases => {
  if (leases._tag !== "Held" || !leases.connections.has(connection)) return leases
  const connections = new Set(leases.connections)
  connections.delete(connection)
  if (connections.size > 0) return { ...leases, connections }
  const countdowns = leases.countdowns + 1
  return { ...leases, connections, countdown: countdowns, countdowns }
}

/** A countdown ended: unless its client is back, the lease does too, or is an orphan if there is something to keep. */
export const expire = (leases: Leases, countdown: number, isWorthKeeping = false): Leases => {
  if (leases._tag !== "Held" || leases.countdown !== countdown) return leases
  const { countdowns, holder } = leases
  return isWorthKeeping ? { _tag: "Orphan", holder, isAwaited: true, countdowns } : closing(leases)
}

/** A client that is gone has given up to come back. */
export const giveUp = (leases: Leases): Leases => leases._tag === "Orphan" ? { ...leases, isAwaited: false } : leases

/** Nobody waits for what an orphan does any more. */
export const end = (leases: Leases): Leases => leases._tag === "Orphan" ? closing(leases) : leases

/** The client gives the node back. */
export const release = (leases: Leases, leaseId: string): Leases =>
  leases._tag === "Held" && leases.holder.leaseId === leaseId ? closing(leases) : leases

/** All that ran under a lease is gone: the node is free. */
export const closed = (leases: Leases, leaseId: string): Leases =>
  leases._tag === "Closing" && leases.holder.leaseId === leaseId
    ? { _tag: "Free", countdowns: leases.countdowns }
    : leases

/** Whether this connection acquired this lease and may use it. */
export const isHeldBy = (leases: Leases, connection: number, leaseId: string): boolean =>
  leases._tag === "Held" && leases.holder.leaseId === leaseId && leases.connections.has(connection)

/** What is wrong with a value; nothing, unless there is a bug. */
export const invariants = (leases: Leases): ReadonlyArray<string> => {
  if (leases._tag !== "Held") return []
  const problems: Array<string> = []
  if ((leases.connections.size === 0) !== (leases.countdown !== undefined)) {
    problems.push("a countdown runs exactly while there is no connection")
  }
  if (leases.countdown !== undefined && leases.countdown > leases.countdowns) {
    problems.push("a countdown has a number that was given")
  }
  return problems
}

const heldBy = (
  { countdowns, holder }: Leases & { readonly _tag: "Held" | "Orphan" },
  connections: ReadonlySet<number>
): Leases => ({ _tag: "Held", holder, connections, countdown: undefined, countdowns })

const closing = (leases: Leases & { readonly _tag: "Held" | "Orphan" }): Leases => ({
  _tag: "Closing",
  holder: leases.holder,
  countdowns: leases.countdowns
})
