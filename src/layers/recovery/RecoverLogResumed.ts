/**
 * The recover file of a program that died, as a recovery goes on with it: nodes that the recovery leases are noted under
 * a key of its own, and jobs as those of the computation that they are from.
 */
import { Effect, Layer } from "effect"
import type * as RecoverFile from "../../domain/recovery/RecoverFile.ts"
import { RecoverLog } from "../../services/RecoverLog.ts"
import * as QueueJournal from "./QueueJournal.ts"
import type { Claim } from "./RecoverFileDisk.ts"

/** Goes on with a file. `originals` has the ids of computations in the file, by those under which their jobs run now. */
export const layer = (
  { file, journals, resumed }: Claim,
  originals: ReadonlyMap<string, string>
): Layer.Layer<RecoverLog> => {
  const { generation, recoverKey } = resumed
  const retried = new Set<string>()
  const append = (entry: RecoverFile.Entry) => Effect.sync(() => QueueJournal.append(journals, entry))
  return Layer.succeed(
    RecoverLog,
    RecoverLog.of({
      key: Effect.succeed(recoverKey),
      leased: (node) => append({ _tag: "Node", ...node, generation }),
      opened: Effect.fnUntraced(function*({ id, mayRunTwice, name }) {
        const originalId = originals.get(id)
        const index = originalId === undefined ? undefined : file.computations.get(originalId)?.index
        if (originalId === undefined || index === undefined) return undefined
        yield* append({ _tag: "Computation", id, name, mayRunTwice, originalId })
        return QueueJournal.journal(journals, {
          index,
          name,
          nameOf: (node) => `${node} (recovery ${generation})`
        })
      }),
      retried: (id) => {
        const computationId = originals.get(id)
        if (computationId === undefined || file.retried.has(computationId) || retried.has(computationId)) return
        retried.add(computationId)
        QueueJournal.append(journals, { _tag: "Retried", computationId })
      },
      flush: () => QueueJournal.flush(journals)
    })
  )
}
