/** The machines of a test, by name and address. */
import type * as NodeAddress from "../../domain/NodeAddress.ts"
import type { Machine } from "./Machine.ts"

/** The machines of a test. */
export interface Machines {
  /** In the order of their start, by name. */
  readonly all: Map<string, Machine>
  /** Those that discovery is to tell of a machine that appears. */
  readonly listeners: Set<(machine: Machine) => void>
  readonly at: (address: NodeAddress.NodeAddress) => Machine | undefined
  /** Something happened that somebody may wait for. */
  readonly changed: () => void
  /** Called when something happened. */
  readonly watchers: Set<() => void>
  /** Connections that there were. */
  connections: number
  /** Messages that arrived. */
  activity: number
}

/** Name of the machine that "local" in a node list is. */
export const localName = "local"

/** No machines. */
export const make = (): Machines => {
  const all = new Map<string, Machine>()
  const watchers = new Set<() => void>()
  const machines: Machines = {
    all,
    listeners: new Set(),
    watchers,
    at: (address) => {
      if (address._tag === "Unix") return all.get(localName)
      const host = address.host.toLowerCase()
      for (const machine of all.values()) {
        if (machine.name.toLowerCase() === host || machine.ipAddr === host) return machine
      }
      return undefined
    },
    changed: () => {
      machines.activity++
      for (const watcher of watchers) watcher()
    },
    connections: 0,
    activity: 0
  }
  return machines
}
