#!/usr/bin/env node
/** The program `dispy`. Nothing else is imported before the check: what an old Node cannot read must not be what it says. */
import * as NodeVersion from "./settings/NodeVersion.ts"

NodeVersion.check("dispy")

await import("./cli/CliMain.ts")
