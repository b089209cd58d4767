/** Bulk connections to machines in memory, over the same paths as their control connections; not slowed down. */
import { Effect, Layer } from "effect"
import * as NodeAddress from "../../domain/NodeAddress.ts"
import { FileTransfer } from "../../services/FileTransfer.ts"
import * as FileTransferMemory from "../bulk/FileTransferMemory.ts"
import * as FileTransferSession from "../bulk/FileTransferSession.ts"
import * as Gate from "./Gate.ts"
import type { Machine } from "./Machine.ts"
import type { Machines } from "./Machines.ts"

const connect = (machine: Machine | undefined) => {
  const running = machine?.running
  if (machine === undefined || running === undefined) throw new Error("connection refused")
  const through = (gate: Gate.Gate): FileTransferMemory.Pass => (go) => void Gate.pass([machine.thawed, gate], go)
  const { ends, wire } = FileTransferMemory.connect(
    running.door,
    through(machine.toNode),
    through(machine.fromNode)
  )
  for (const end of ends) {
    machine.bulk.add(end)
    end.once("close", () => machine.bulk.delete(end))
  }
  return wire
}

/** Bulk connections to these machines. */
export const layer = (machines: Machines): Layer.Layer<FileTransfer> =>
  Layer.succeed(
    FileTransfer,
    FileTransfer.of({
      open: (address, leaseId) =>
        Effect.suspend(() => {
          const machine = machines.at(address)
          const dial = () => new Promise<ReturnType<typeof connect>>((resolve) => resolve(connect(machine)))
          return FileTransferSession.make(machine?.name ?? NodeAddress.format(address), leaseId, dial)
        })
    })
  )
