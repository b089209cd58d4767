/**
 * Runs the `setup` or `cleanup` of a computation in the process that it is called in, and says what `setup` left: what
 * it returned, and the globals that it made. Executors that run jobs in threads call it in the process of the threads.
 */
import { writeFileSync } from "node:fs"
import type { LifecycleRun } from "../domain/wire/SlotFrames.ts"
import * as JobGlobal from "./JobGlobal.ts"
import * as Load from "./Load.ts"
import * as Stack from "./Stack.ts"
import * as Surroundings from "./Surroundings.ts"

/** What is there after `setup`. */
export interface SetUp {
  readonly state: Surroundings.State
  /** With which the state is encoded. */
  readonly classes: Surroundings.Surroundings["classes"]
}

/** Runs it; throws what it threw, or why it counts as failed. `onLoaded` is called before it begins. */
export const run = async (told: LifecycleRun, onLoaded: () => void): Promise<SetUp> => {
  process.chdir(told.directory)
  const left = told.role === "setup" ? Surroundings.noState : undefined
  const { around, call } = await Load.loadCode(told.code, told, left)
  JobGlobal.installOutside(told, around.shared)
  onLoaded()
  const before = new Set(Object.getOwnPropertyNames(globalThis))
  const shared = await Load.callSetup(call, told.argsPath, around.classes)
  return { state: { shared, globals: Surroundings.newGlobals(before) }, classes: around.classes }
}

/** Runs `setup` in the process of the threads, which share what it leaves; a file of it is for `cleanup`. */
export const runInHost = async (told: LifecycleRun): Promise<Surroundings.Given> => {
  try {
    const { classes, state } = await run(told, () => {})
    if (told.statePath !== "") writeFileSync(told.statePath, Surroundings.encodeState(state, classes), { mode: 0o600 })
    return Surroundings.passState(state, classes)
  } catch (error) {
    throw new Load.LoadError(`setup failed: ${Stack.describe(error)}`)
  }
}
