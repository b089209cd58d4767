/** What promise clusters are made on that are made inside of a test's nodes: nothing of their code needs to know. */
import type { Layer } from "effect"
import { AsyncLocalStorage } from "node:async_hooks"

/** Where promise clusters are made instead of the real world. */
export interface Surroundings {
  /** A network, and its clock. */
  readonly layer: Layer.Layer<never>
  /** Hears of every cluster that is made, to close it in the end. */
  readonly onCluster: (cluster: Closable) => void
}

/** A cluster that may be closed already. */
export interface Closable {
  readonly close: (options: { readonly timeout: number; readonly terminate: boolean }) => Promise<boolean>
}

const storage = new AsyncLocalStorage<Surroundings>()

/** What this code runs in; undefined for the real world. */
export const current = (): Surroundings | undefined => storage.getStore()

/** Runs code, and all that it sets off. */
export const run = <A>(surroundings: Surroundings, code: () => A): A => storage.run(surroundings, code)
