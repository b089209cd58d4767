/** The credentials of this program, as a service. */
import { Context, Layer } from "effect"
import * as Domain from "../domain/security/Credentials.ts"

/** The credentials of this program; none unless they are provided. */
export const Credentials = Context.Reference<Domain.Credentials>("dispy/services/Credentials", {
  defaultValue: () => Domain.none
})

/** These credentials. */
export const layer = (credentials: Domain.Credentials): Layer.Layer<never> => Layer.succeed(Credentials, credentials)
