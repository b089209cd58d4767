/** `dispy keys`: secrets and certificates, so that nobody needs openssl. */
import { Command } from "effect/cli"
import * as KeysInit from "./KeysInit.ts"

/** The command. */
export const command = Command.make("keys").pipe(
  Command.withDescription("Makes secrets and certificates for clients and nodes"),
  Command.withSubcommands([KeysInit.command])
)
