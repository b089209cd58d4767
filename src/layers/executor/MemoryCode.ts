/**
 * The code of a computation inside this process, for `JobExecutorMemory`: compiled with its functions and classes around
 * it, `setup` and `setupSlot` run once, `cleanup` with the scope. What `setup` leaves goes through the value codec as it
 * does on its way to slots, so that tests see what cannot be copied.
 */
import { Effect, type Scope } from "effect"
import { AsyncLocalStorage } from "node:async_hooks"
import type { Code, Computation } from "../../domain/Computation.ts"
import { ComputationRefused } from "../../domain/NodeError.ts"
import type { ExecutorRequest } from "../../services/JobExecutor.ts"
import * as Load from "../../slot/Load.ts"
import * as Stack from "../../slot/Stack.ts"
import * as Surroundings from "../../slot/Surroundings.ts"
import * as Values from "../../slot/Values.ts"

/** What the global `dispy` shows of the job that calls. */
export interface CurrentJob {
  readonly id: number
  readonly signal: AbortSignal
  readonly emit: Load.Emit
}

/** The job on whose behalf code runs. */
export const currentJob = new AsyncLocalStorage<CurrentJob>()

const refusal = (node: string, { name }: Computation, reason: string): ComputationRefused =>
  new ComputationRefused({ node, computation: name, reason })

/** The `dispy` of code in this process: a variable of its own, since other computations have others. */
const dispyOf = (nodeName: string, ipAddr: string, state: { shared: unknown }): object =>
  Object.freeze({
    get jobId() {
      return currentJob.getStore()?.id ?? 0
    },
    get signal() {
      return currentJob.getStore()?.signal ?? AbortSignal.abort()
    },
    get shared() {
      return state.shared
    },
    provisionalResult: (value: unknown) => currentJob.getStore()?.emit(value),
    nodeName,
    ipAddr
  })

const compile = (
  name: string,
  code: Code,
  around: Pick<Surroundings.Surroundings, "scope" | "classes">
): Load.Call => {
  if (code._tag === "FunctionCode") return Load.compile(name, code.source, code.captures, around)
  throw new Load.LoadError("this executor runs functions only, no modules and no programs")
}

/** Runs one of `setup`, `setupSlot` and `cleanup` to its end. */
const runOnce = (
  what: string,
  call: Load.Call,
  args: ReadonlyArray<unknown>,
  timeoutMillis: number
): Effect.Effect<unknown, string> =>
  Effect.tryPromise({ try: () => Load.callSetup(call, args), catch: Stack.describe }).pipe(
    Effect.timeoutOrElse({
      duration: timeoutMillis,
      orElse: () => Effect.fail(`it did not end within ${timeoutMillis} ms; raise setupTimeout if it needs longer`)
    }),
    Effect.mapError((reason) => `${what} failed: ${reason}`)
  )

const removeGlobals = (names: ReadonlyArray<string>) =>
  Effect.sync(() => {
    for (const name of names) Reflect.deleteProperty(globalThis, name)
  })

const prepare = Effect.fnUntraced(function*(
  nodeName: string,
  ipAddr: string,
  { computation, setupArgs }: ExecutorRequest,
  isDead: () => boolean
): Effect.fn.Return<Load.Loaded, string, Scope.Scope> {
  const { code, depends, lifecycle, name } = computation
  const state = { shared: undefined as unknown }
  const attempt = <A>(run: () => A): Effect.Effect<A, string> => Effect.try({ try: run, catch: Stack.describe })
  if (depends !== undefined && depends.modules.length > 0) {
    return yield* Effect.fail("this executor runs functions only, and has no modules to import")
  }
  const defined = yield* attempt(() => Surroundings.define(depends?.definitions ?? [], {}, undefined))
  const around = { ...defined, scope: { ...defined.scope, dispy: dispyOf(nodeName, ipAddr, state) } }
  const call = yield* attempt(() => compile(name, code, around))
  const args = setupArgs === undefined ? [] : yield* attempt(() => Values.decodeArgs(setupArgs, around.classes))
  const { cleanup, setup, setupSlot, timeoutMillis = 0 } = lifecycle ?? {}
  if (setup !== undefined) {
    const run = yield* attempt(() => compile("setup", setup, around))
    const before = new Set(Object.getOwnPropertyNames(globalThis))
    const shared = yield* runOnce("setup", run, args, timeoutMillis)
    const globals = Surroundings.newGlobals(before)
    yield* Effect.addFinalizer(() => removeGlobals(Object.keys(globals)))
    const left = yield* attempt(() =>
      Surroundings.decodeState(Surroundings.encodeState({ shared, globals }, around.classes), around.classes)
    ).pipe(Effect.mapError((reason) => `setup failed: ${reason}`))
    Surroundings.defineGlobals(left.globals)
    state.shared = left.shared
  }
  if (cleanup !== undefined) {
    const run = yield* attempt(() => compile("cleanup", cleanup, around))
    const cleaned = runOnce("cleanup", run, args, timeoutMillis).pipe(
      Effect.catch((reason) => Effect.logWarning(`of ${name}: ${reason}`))
    )
    yield* Effect.addFinalizer(() => Effect.suspend(() => isDead() ? Effect.void : cleaned))
  }
  if (setupSlot !== undefined) {
    const run = yield* attempt(() => compile("setupSlot", setupSlot, around))
    yield* runOnce("setupSlot", run, args, timeoutMillis)
  }
  return { call, around: { ...around, shared: state.shared } }
})

/** The computation, ready to be called; its `cleanup` does not run when `isDead`. */
export const load = (
  nodeName: string,
  ipAddr: string,
  request: ExecutorRequest,
  isDead: () => boolean = () => false
): Effect.Effect<Load.Loaded, ComputationRefused, Scope.Scope> =>
  Effect.mapError(
    prepare(nodeName, ipAddr, request, isDead),
    (reason) => refusal(nodeName, request.computation, reason)
  )
