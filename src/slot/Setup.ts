/**
 * Runs the `setup` or `cleanup` of a computation in the process that it is called in, and says what `setup` left: what
 * it returned, and the globals that it made. Executors that run jobs in threads call it in the process of the threads.
 */
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

/**
 * Runs it; throws what it threw, or why it counts as failed. `onLoaded` is called before it begins; `state` is what
 * `setup` left, where that is in memory.
 */
export const run = async (
  told: LifecycleRun,
  onLoaded: () => void,
  state?: Surroundings.State
): Promise<SetUp> => {
  process.chdir(told.directory)
  const left = told.role === "setup" ? Surroundings.noState : state
  const { around, call } = await Load.loadCode(told.code, told, left)
  JobGlobal.installOutside(told, around.shared)
  onLoaded()
  const before = new Set(Object.getOwnPropertyNames(globalThis))
  const shared = await Load.callSetup(call, Load.setupArgs(told.argsPath, around.classes))
  return { state: { shared, globals: Surroundings.newGlobals(before) }, classes: around.classes }
}

/** Runs it in the process of the threads, for as long as it may take; what nobody catches fails it. */
const runBounded = async (
  told: LifecycleRun,
  onBegin: () => void,
  state?: Surroundings.State
): Promise<SetUp> => {
  const { promise: failed, reject } = Promise.withResolvers<never>()
  let timer: NodeJS.Timeout | undefined
  const onLoaded = (): void => {
    const late = `it did not end within ${told.timeoutMillis} ms; raise setupTimeout if it needs longer`
    timer = setTimeout(() => reject(new Load.LoadError(late)), told.timeoutMillis)
    onBegin()
  }
  process.on("uncaughtException", reject)
  try {
    return await Promise.race([run(told, onLoaded, state), failed])
  } finally {
    clearTimeout(timer)
    process.off("uncaughtException", reject)
  }
}

/** Why it cannot be given to threads; undefined if it can: a structured clone shares what can be shared. */
const problemWith = ({ classes, state }: SetUp): string | undefined => {
  try {
    structuredClone(state)
    return undefined
  } catch (error) {
    try {
      Surroundings.encodeState(state, classes)
    } catch (found) {
      // It says where.
      return Stack.describe(found)
    }
    return `what it left cannot be given to the threads: ${Stack.describe(error)}; make it in setupSlot`
  }
}

/** What `setup` left in the process of the threads: as it has it itself, and as it gives it to them. */
export interface HostState {
  readonly own: Surroundings.State
  readonly given: Surroundings.Given
}

/** Runs `setup` in the process of the threads, which share what it leaves. `onBegin` is called right before it begins. */
export const runInHost = async (told: LifecycleRun, onBegin: () => void): Promise<HostState> => {
  try {
    const done = await runBounded(told, onBegin)
    const problem = done.classes === undefined ? problemWith(done) : undefined
    if (problem !== undefined) throw new Load.LoadError(problem)
    return { own: done.state, given: Surroundings.passState(done.state, done.classes) }
  } catch (error) {
    throw new Load.LoadError(`setup failed: ${Stack.describeWithPlace(error)}`)
  }
}

/** Runs `cleanup` there, with what `setup` left; resolves to why it failed, or empty. */
export const cleanUpInHost = (told: LifecycleRun, state: Surroundings.State): Promise<string> =>
  runBounded(told, () => {}, state).then(() => "", Stack.describeWithPlace)
