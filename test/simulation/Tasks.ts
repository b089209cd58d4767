/** What processes of a simulated world do in several steps: generators that wait for what happens there. */
import * as World from "./World.ts"

/** Something that will happen: calls back once with what came of it; what it returns takes that back. */
export type Wait<A> = (resume: (value: A) => void) => void | (() => void)

/** Steps of a process. */
export type Task<A> = Generator<Wait<never>, A, unknown>

/** A task that runs. */
export interface Running {
  /** Ends it where it is; what it has in `finally` is done. */
  readonly cancel: () => void
}

/** Waits for something. */
export const wait = function*<A>(what: Wait<A>): Task<A> {
  return (yield what as unknown as Wait<never>) as A
}

/** Runs the task in a process, until one of them ends. */
export const run = <A>(
  world: World.World,
  process: World.Process,
  task: Task<A>,
  done: (value: A) => void = () => {}
): Running => {
  let isOver = false
  let takeBack: (() => void) | undefined
  const go = (value: unknown): void => {
    if (isOver) return
    takeBack = undefined
    const next = task.next(value)
    if (next.done === true) {
      isOver = true
      return done(next.value)
    }
    let isResumed = false
    const undo = next.value((result: never) => {
      if (isResumed || isOver) return
      isResumed = true
      World.soon(world, process, () => go(result))
    })
    if (typeof undo === "function" && !isResumed) takeBack = undo
  }
  World.soon(world, process, () => go(undefined))
  return {
    cancel: () => {
      if (isOver) return
      isOver = true
      takeBack?.()
      task.return(undefined as A)
    }
  }
}

/** A time. */
export const sleep = (world: World.World, process: World.Process, millis: number): Wait<"Time"> => (resume) => {
  let isWanted = true
  World.after(world, process, millis, "", () => {
    if (isWanted) resume("Time")
  })
  return () => {
    isWanted = false
  }
}

/** The first of these. */
export const first = <A>(...waits: ReadonlyArray<Wait<A>>): Wait<A> => (resume) => {
  const undos: Array<() => void> = []
  let isOver = false
  const undo = (): void => {
    for (const one of undos) one()
  }
  for (const one of waits) {
    const taken = one((value) => {
      if (isOver) return
      isOver = true
      undo()
      resume(value)
    })
    if (typeof taken === "function") undos.push(taken)
  }
  return () => {
    isOver = true
    undo()
  }
}

/** Something that one tells and several may wait for. */
export interface Signal<A> {
  value: { readonly it: A } | undefined
  readonly waiting: Set<(value: A) => void>
}

/** Not told yet. */
export const signal = <A>(): Signal<A> => ({ value: undefined, waiting: new Set() })

/** Tells it, once. */
export const tell = <A>(told: Signal<A>, it: A): void => {
  if (told.value !== undefined) return
  told.value = { it }
  for (const resume of told.waiting) resume(it)
  told.waiting.clear()
}

/** Waits until it is told. */
export const told = <A>(of: Signal<A>): Wait<A> => (resume) => {
  if (of.value !== undefined) {
    resume(of.value.it)
    return
  }
  of.waiting.add(resume)
  return () => of.waiting.delete(resume)
}
