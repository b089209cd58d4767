/** A client with a node that answers for jobs which it has not, again and again, and sends files that are nobody's. */
import { describe, expect, it } from "@effect/vitest"
import { Effect } from "effect"
import * as fs from "node:fs"
import * as os from "node:os"
import * as path from "node:path"
import * as Entries from "../../../src/domain/wire/Entries.ts"
import { resultName } from "../../../src/domain/wire/LargeValue.ts"
import { createJobCluster } from "../../../src/promise.ts"
import * as Values from "../../../src/slot/Values.ts"
import { eventually } from "../../support/Eventually.ts"
import { aListeningNode } from "../../support/ListeningNode.ts"
import { aReply } from "../../support/ScriptedExecutor.ts"

describe("a node that lies", () => {
  it.live(
    "100,000 times changes no job, and gives the client nothing that it did not ask for",
    () =>
      Effect.gen(function*() {
        const directory = yield* Effect.acquireRelease(
          Effect.sync(() => fs.mkdtempSync(path.join(os.tmpdir(), "dispy-test-lies-"))),
          (made) => Effect.sync(() => fs.rmSync(made, { recursive: true }))
        )
        const { port, script } = yield* aListeningNode()
        const heard = { provisional: 0, files: 0 }
        const cluster = yield* Effect.acquireRelease(
          Effect.promise(() =>
            createJobCluster((text: string) => text, {
              nodes: `127.0.0.1:${port}`,
              filesDirectory: directory,
              onFile: () => heard.files++,
              callback: (job) => {
                if (job.status === "ProvisionalResult") heard.provisional++
              }
            })
          ),
          (made) => Effect.promise(() => made.close())
        )
        const [one, two] = [cluster.submit("one"), cluster.submit("two")]
        yield* Effect.promise(() =>
          eventually(() => expect([...script.computations.values()][0]?.jobs).toHaveLength(2))
        )
        const { jobs, request } = [...script.computations.values()][0]!
        const [first = 0, second = 0] = jobs
        for (let batch = 0; batch < 100; batch++) {
          request.onReplies(Buffer.concat(Array.from({ length: 1000 }, (_, n) => {
            const outcome = n % 3 === 0 ? Entries.Outcome.provisional : Entries.Outcome.succeeded
            return n % 2 === 0
              ? aReply(first, outcome, 2 + n, Values.encode("a lie"))
              : aReply(1000 + n, outcome, 1, Values.encode("a lie"))
          })))
        }
        const file = path.join(request.directory ?? "", "evil")
        fs.writeFileSync(file, "evil")
        const { signal } = new AbortController()
        for (let n = 0; n < 100; n++) {
          const sent = { file, path: `evil${n}`, sizeBytes: 4, mode: 0o644, modifiedMillis: 0, signal }
          request.onFile?.({ ...sent, fileId: n, jobId: 1000 + n })
        }
        // A result in a file, told of a thousand times, is fetched once: the node removes it with that.
        const bytes = Values.encode("two")
        fs.writeFileSync(path.join(request.valuesDirectory ?? "", resultName({ jobId: second, attempt: 1 })), bytes)
        const size = Buffer.alloc(8)
        size.writeDoubleLE(bytes.length)
        const large = aReply(second, Entries.Outcome.succeeded, 1, size)
        large[11] = Entries.ReplyFlags.largeResult
        request.onReplies(Buffer.concat(Array.from({ length: 1000 }, () => large)))
        for (let n = 0; n < 100; n++) {
          request.onReplies(aReply(first, Entries.Outcome.provisional, 1, Values.encode(n)))
        }
        const right = aReply(first, Entries.Outcome.succeeded, 1, Values.encode("one"))
        request.onReplies(Buffer.concat([right, aReply(first, Entries.Outcome.failed), right]))
        expect(yield* Effect.promise(() => Promise.all([one.result(), two.result()]))).toEqual(["one", "two"])
        expect(heard).toEqual({ provisional: 100, files: 0 })
        expect(fs.readdirSync(directory)).toEqual([])
      }).pipe(Effect.scoped),
    30_000
  )
})
