/** The network interfaces of this machine that have addresses. */
import { Effect } from "effect"
import * as os from "node:os"
import type { InterfaceFact } from "../../domain/doctor/Facts.ts"

export const all: Effect.Effect<ReadonlyArray<InterfaceFact>> = Effect.sync(() =>
  Object.entries(os.networkInterfaces()).map(([name, addresses = []]) => ({
    name,
    addresses: addresses.map(({ address, cidr }) => cidr ?? address),
    isInternal: addresses.every(({ internal }) => internal)
  }))
)
