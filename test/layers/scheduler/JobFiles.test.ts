/** Files that a node says a job sends, where the node lies about their names. */
import { expect, it } from "@effect/vitest"
import { Effect } from "effect"
import * as fs from "node:fs"
import * as os from "node:os"
import * as path from "node:path"
import * as JobFiles from "../../../src/layers/scheduler/JobFiles.ts"
import { hostileNames } from "../../support/HostileNames.ts"
import { aComputation } from "../../support/NodeClients.ts"
import { aJob } from "../../support/SchedulerBuilders.ts"

type Node = Parameters<typeof JobFiles.receive>[0]
type Request = Parameters<typeof JobFiles.receive>[1]

it.effect("a node that names them by any of 500 hostile names writes nothing, and a good one into the directory alone", () =>
  Effect.gen(function*() {
    const root = yield* Effect.acquireRelease(
      Effect.sync(() => fs.mkdtempSync(path.join(os.tmpdir(), "dispy-test-received-"))),
      (made) => Effect.sync(() => fs.rmSync(made, { recursive: true }))
    )
    const directory = path.join(root, "files")
    fs.mkdirSync(directory)
    const answers: Array<string> = []
    const node = {
      id: "n",
      address: "n:1",
      leaseId: "l",
      transfer: { getFile: (_: unknown, partial: string) => Effect.sync(() => fs.writeFileSync(partial, "evil")) },
      connection: {
        answerJobFile: (_lease: string, _id: string, _file: number, problem: string) =>
          Effect.sync(() => answers.push(problem))
      }
    } as unknown as Node
    const received: Array<string> = []
    const request = {
      computation: aComputation("c"),
      jobFiles: { directory, maxFileBytes: 100, onFile: (_job: unknown, name: string) => received.push(name) }
    } as unknown as Request
    const send = (name: string, sizeBytes = 4) =>
      JobFiles.receive(node, request, aJob(1), {
        _tag: "JobFile",
        computationId: "c",
        fileId: 1,
        jobId: 1,
        path: name,
        sizeBytes,
        mode: 0o777,
        modifiedMillis: 0
      })
    for (const name of hostileNames) yield* send(name)
    yield* send("too large", 101)
    expect(answers).toHaveLength(hostileNames.length + 1)
    for (const answer of answers.slice(0, -1)) expect(answer).toMatch(/^the client refuses its name/)
    expect(answers.at(-1)).toMatch(/more than the 100 that the client takes/)
    expect([received, fs.readdirSync(directory), fs.readdirSync(root)]).toEqual([[], [], ["files"]])
    yield* send("a/good")
    expect([received, fs.readdirSync(directory), answers.at(-1)]).toEqual([["a/good"], ["a"], ""])
  }))
