/** What lets things through while it is open, and has them wait while it is not. */
import { Effect } from "effect"

/** A gate. */
export interface Gate {
  isOpen: boolean
  readonly waiting: Set<() => void>
}

/** An open gate. */
export const make = (): Gate => ({ isOpen: true, waiting: new Set() })

/** Opens or closes the gate; who waits goes on, in order, when it opens. */
export const set = (gate: Gate, isOpen: boolean): void => {
  gate.isOpen = isOpen
  if (!isOpen) return
  const waiting = [...gate.waiting]
  gate.waiting.clear()
  for (const go of waiting) go()
}

const areOpen = (gates: ReadonlyArray<Gate>): boolean => gates.every(({ isOpen }) => isOpen)

/** Calls `go` when all gates are open at the same time, at once if they are; returns a function that takes it back. */
export const pass = (gates: ReadonlyArray<Gate>, go: () => void): () => void => {
  let at: Gate | undefined
  const attempt = (): void => {
    at = gates.find(({ isOpen }) => !isOpen)
    if (at === undefined) go()
    else at.waiting.add(attempt)
  }
  attempt()
  return () => at?.waiting.delete(attempt)
}

/** Waits until all gates are open. */
export const open = (gates: ReadonlyArray<Gate>): Effect.Effect<void> =>
  Effect.suspend(() =>
    areOpen(gates) ? Effect.void : Effect.callback<void>((resume) => {
      const takeBack = pass(gates, () => resume(Effect.void))
      return Effect.sync(takeBack)
    })
  )
