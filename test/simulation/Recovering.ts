/** A program that recovers the jobs of a client that died: the real recover file and the real choice of jobs (`domain/recovery`), carried out as `layers/recovery/JobRecovery.ts` does. */
import { NodeUnreachable } from "../../src/domain/NodeError.ts"
import type { KeptEvent } from "../../src/domain/NodeRpcs.ts"
import * as KeptJobs from "../../src/domain/recovery/KeptJobs.ts"
import * as RecoverFile from "../../src/domain/recovery/RecoverFile.ts"
import * as Entries from "../../src/domain/wire/Entries.ts"
import * as Disk from "./Disk.ts"
import * as Ledger from "./Ledger.ts"
import type * as Network from "./Network.ts"
import * as Rpc from "./Rpc.ts"
import * as Tasks from "./Tasks.ts"
import * as World from "./World.ts"

/** See above. */
export interface Recovering {
  readonly world: World.World
  readonly network: Network.Network
  readonly ledger: Ledger.Ledger
  readonly process: World.Process
  readonly disk: Disk.Disk
  readonly path: string
  readonly terminatePending: boolean
  /** It does not note what it has handed over, to see whether the rules notice. */
  readonly forgetsHandedOver: boolean
}

interface Self extends Recovering {
  readonly file: RecoverFile.RecoverFile
  readonly kept: KeptJobs.KeptJobs
  readonly done: Set<string>
}

/** Time between tries with a node, and how long it may take to forget. */
const [retryMillis, forgetMillis] = [1000, 10_000]

/** Recovers all there is; the process ends when the nodes have nothing more. */
export const live = function*(options: Recovering): Tasks.Task<void> {
  const { disk, path, process, world } = options
  const bytes = Disk.read(disk, path)
  const read = bytes === undefined ? undefined : RecoverFile.read(bytes)
  if (read?._tag !== "Success") {
    if (bytes !== undefined && bytes.length > 0) World.fail(`the recover file ${path} cannot be read`)
    return World.end(world, process, "there is nothing to recover")
  }
  const file = read.success
  const self: Self = { ...options, file, kept: KeptJobs.make(file), done: new Set() }
  let asking = file.nodes.size
  const asked = Tasks.signal<void>()
  if (asking === 0) Tasks.tell(asked, undefined)
  for (const address of file.nodes.keys()) {
    Tasks.run(world, process, ask(self, address), () => {
      if (--asking === 0) Tasks.tell(asked, undefined)
    })
  }
  yield* Tasks.wait(Tasks.told(asked))
  yield* handOver(self, KeptJobs.giveUp(self.kept))
  if (self.done.size === file.nodes.size) disk.files.delete(path)
  World.end(world, process, "all is recovered")
}

const ask = function*(self: Self, address: string): Tasks.Task<void> {
  const { kept, network, process, terminatePending, world } = self
  const node = self.file.nodes.get(address)!
  while (true) {
    const connection = yield* Rpc.connect(world, network, process, node.name)
    if (!(connection instanceof NodeUnreachable)) {
      KeptJobs.begin(kept, address)
      const payload = { recoverKey: self.file.header.recoverKey, terminatePending }
      const answer = yield* Tasks.wait(
        Rpc.call(connection, "Recover", payload, (message) => {
          const jobs = (message as ReadonlyArray<KeptEvent>).flatMap((event) => take(self, address, event))
          if (jobs.length > 0) Tasks.run(world, process, handOver(self, { jobs, nodes: [] }))
        })
      )
      Rpc.close(connection)
      const isNothing = !answer.ok && answer.error._tag === "NothingKept" &&
        (answer.error as { readonly isInUse?: boolean }).isInUse !== true
      if (isNothing) KeptJobs.begin(kept, address)
      if (answer.ok || isNothing) return yield* handOver(self, KeptJobs.ended(kept, address))
    }
    yield* Tasks.wait(Tasks.sleep(world, process, retryMillis))
  }
}

const take = ({ kept }: Self, address: string, event: KeptEvent): ReadonlyArray<KeptJobs.KeptJob> => {
  switch (event._tag) {
    case "KeptLease":
      for (const { computationId, unreplied } of event.computations) {
        KeptJobs.unreplied(kept, address, computationId, unreplied)
      }
      return []
    case "KeptReplies": {
      const { batch, computationId } = event
      const view = Entries.viewOf(batch)
      const final: Array<KeptJobs.KeptJob> = []
      if (Entries.countReplies(batch) < 0) World.fail(`${address} kept replies that are none`)
      for (let offset = 0; offset < batch.length; offset += Entries.entrySize(view, offset)) {
        const job = KeptJobs.replied(kept, address, computationId, Entries.readReply(batch, view, offset))
        if (job !== undefined) final.push(job)
      }
      return final
    }
    case "KeptLost":
      return KeptJobs.lost(kept, address, event.computationId, event.jobIds, event.reason)
    case "KeptFile":
      return []
  }
}

/** The user has these, which is noted; then nodes that have nothing else are told to forget. */
const handOver = function*(self: Self, { jobs, nodes }: KeptJobs.Settled): Tasks.Task<void> {
  const { disk, file, ledger, path, process, world } = self
  for (const { computationId, lost, number, reply } of jobs) {
    const isReply = reply !== undefined && reply.outcome !== Entries.Outcome.returned
    const hasRun = isReply && reply.startMillis > 0
    const how = isReply ? "reply" : lost === "" ? "given back" : "lost"
    Ledger.recovered(ledger, computationId, number, how, hasRun ? reply.attempt : 0)
    if (!self.forgetsHandedOver) {
      Disk.append(world.random, disk, path, RecoverFile.encode({ _tag: "HandedOver", computationId, jobs: [number] }))
    }
  }
  for (const address of nodes) {
    if (self.done.has(address)) continue
    if (!(yield* forget(self, address))) continue
    self.done.add(address)
    const { host, port } = file.nodes.get(address)!
    Disk.append(world.random, disk, path, RecoverFile.encode({ _tag: "Done", host, port }))
    World.note(world, `${process.name} is done with ${address}`)
  }
}

const forget = function*({ file, network, process, world }: Self, address: string): Tasks.Task<boolean> {
  const connection = yield* Rpc.connect(world, network, process, file.nodes.get(address)!.name)
  if (connection instanceof NodeUnreachable) return false
  const answer = yield* Tasks.wait(
    Tasks.first<Rpc.Answer | "Time">(
      Rpc.call(connection, "Forget", { recoverKey: file.header.recoverKey }),
      Tasks.sleep(world, process, forgetMillis)
    )
  )
  Rpc.close(connection)
  if (answer === "Time") return false
  return answer.ok ||
    (answer.error._tag === "NothingKept" && (answer.error as { readonly isInUse?: boolean }).isInUse !== true)
}
