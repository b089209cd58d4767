/** What is recovered of clients that are gone, in short words. */
import { Effect, Stream } from "effect"
import * as fs from "node:fs"
import * as path from "node:path"
import type { KeptEvent } from "../../src/domain/NodeRpcs.ts"
import { Outcome } from "../../src/domain/wire/Entries.ts"
import { outcomesOf } from "./NodeClients.ts"

const outcomeNames = new Map<number, string>(Object.entries(Outcome).map(([name, outcome]) => [outcome, name]))

/** An event: "lease 1,2", "1 succeeded", "file out.txt 3", "lost 2: reason". */
const wordsOf = (event: KeptEvent): ReadonlyArray<string> => {
  switch (event._tag) {
    case "KeptLease":
      return [`lease ${event.computations.map(({ unreplied }) => unreplied.join()).join(" and ")}`]
    case "KeptReplies":
      return outcomesOf(event.batch).map(([jobId, outcome]) => `${jobId} ${outcomeNames.get(outcome)}`)
    case "KeptFile":
      return [`file ${event.path} ${event.sizeBytes}`]
    case "KeptLost":
      return [`lost ${event.jobIds.join()}: ${event.reason}`]
  }
}

/** All that a stream tells until it ends. */
export const all = <E, R>(events: Stream.Stream<KeptEvent, E, R>): Effect.Effect<ReadonlyArray<string>, E, R> =>
  Effect.map(Stream.runCollect(events), (collected) => collected.flatMap(wordsOf))

/** Files below a directory, with their permission bits and those of directories. */
export const modesBelow = (directory: string): Readonly<Record<string, string>> =>
  Object.fromEntries(
    (fs.existsSync(directory) ? fs.readdirSync(directory, { recursive: true, encoding: "utf8" }) : []).map((name) => [
      name,
      (fs.statSync(path.join(directory, name)).mode & 0o777).toString(8)
    ])
  )
