/** What comes true by itself, when it does: a busy machine needs longer for it. */
import { vi } from "vitest"

/** Waits until a check does not throw any more; what it throws after a minute fails the test. */
export const eventually = <A>(check: () => A | Promise<A>): Promise<A> =>
  vi.waitFor(check, { timeout: 60_000, interval: 20 })
