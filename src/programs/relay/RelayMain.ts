/** Runs `dispynetrelay`. */
import * as Launch from "../settings/Launch.ts"
import * as RelayOptions from "./RelayOptions.ts"
import * as RelayProgram from "./RelayProgram.ts"

Launch.launch("dispynetrelay", RelayOptions.command(process.env, RelayProgram.run), RelayOptions.groups)
