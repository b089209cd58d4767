/** The network interfaces of this machine, as they are now. */
import * as os from "node:os"
import type { InterfaceAddress } from "../../domain/discovery/Routes.ts"

/** Every address of every interface that is up. */
export const read = (): ReadonlyArray<InterfaceAddress> =>
  Object.entries(os.networkInterfaces()).flatMap(([name, addresses]) =>
    (addresses ?? []).map(({ address, family, internal, netmask }) => ({
      name,
      address,
      netmask,
      family: family === "IPv6" ? 6 : 4,
      isLoopback: internal
    }))
  )
