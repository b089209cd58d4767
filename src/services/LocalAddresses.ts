/** From which addresses of this machine a client's connections go out. */
import { Context, Layer } from "effect"

/** Addresses of this machine for outgoing connections, as far as they fit; by default the system chooses. */
export const LocalAddresses = Context.Reference<ReadonlyArray<string>>("dispy/services/LocalAddresses", {
  defaultValue: () => []
})

/** These addresses. */
export const layer = (addresses: ReadonlyArray<string>): Layer.Layer<never> => Layer.succeed(LocalAddresses, addresses)
