#!/usr/bin/env node
/** The program `dispynode`. Nothing else is imported before the check: what an old Node cannot read must not be what it says. */
import * as NodeVersion from "./settings/NodeVersion.ts"

NodeVersion.check("dispynode")

// A mask that takes its own files away from it would have it fail at the first of them, and leave that unusable.
process.umask(process.umask() & 0o077)

await import("./node/NodeMain.ts")
