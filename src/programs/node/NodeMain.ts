/** Runs `dispynode`. */
import * as Launch from "../settings/Launch.ts"
import * as NodeOptions from "./NodeOptions.ts"
import * as NodeProgram from "./NodeProgram.ts"

Launch.launch("dispynode", NodeOptions.command(process.env, NodeProgram.run), NodeOptions.groups)
