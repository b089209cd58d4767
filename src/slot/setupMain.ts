/**
 * The program of the process in which `setup` or `cleanup` of a computation runs. Its argument is the file that says
 * what to run; what `setup` left is written where that says. On descriptor 3 it writes a line end when the code is loaded,
 * and then why it failed, empty for success, as JSON.
 */
import * as fs from "node:fs"
import type { LifecycleRun } from "../domain/wire/SlotFrames.ts"
import * as Setup from "./Setup.ts"
import * as Stack from "./Stack.ts"
import * as Surroundings from "./Surroundings.ts"

/** Descriptor on which the node reads. */
const answer = 3

/** As they are before the user's code can replace them. */
const { writeSync, writeFileSync } = fs
const { exit } = process

let isAnswered = false

const finish = (problem: string): void => {
  if (isAnswered) return
  isAnswered = true
  writeSync(answer, JSON.stringify({ problem }))
  exit.call(process, 0)
}

const told = JSON.parse(fs.readFileSync(process.argv[2]!, "utf8")) as LifecycleRun

process.on("uncaughtException", (error) => finish(Stack.describeWithPlace(error)))
process.on("beforeExit", () => finish("it awaits a promise that can never settle: nothing is pending in its process"))
Setup.run(told, () => writeSync(answer, "\n")).then(({ classes, state }) => {
  if (told.role === "setup") writeFileSync(told.statePath, Surroundings.encodeState(state, classes), { mode: 0o600 })
  finish("")
}).catch((error: unknown) => finish(Stack.describeWithPlace(error)))
