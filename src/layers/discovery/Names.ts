/** Host names, as this machine's resolver knows them now. */
import { Effect } from "effect"
import * as dns from "node:dns/promises"
import type { Place } from "../../domain/discovery/Datagram.ts"

/** All addresses of a host; none for a name that is not known, whose dialler says what is wrong with it. */
export const lookup = (host: string): Effect.Effect<ReadonlyArray<string>> =>
  Effect.tryPromise(() => dns.lookup(host, { all: true })).pipe(
    Effect.map((found) => found.map(({ address }) => address)),
    Effect.orElseSucceed(() => [])
  )

/** The same of several hosts, with their ports. */
export const places = (hosts: ReadonlyArray<Place>): Effect.Effect<ReadonlyArray<Place>> =>
  Effect.map(
    Effect.forEach(
      hosts,
      ({ host, port }) =>
        Effect.map(lookup(host), (addresses) => addresses.map((address) => ({ host: address, port }))),
      { concurrency: "unbounded" }
    ),
    (found) => found.flat()
  )
