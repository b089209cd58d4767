#!/usr/bin/env node
/** The program `dispynetrelay`. Nothing is imported before the check: what an old Node cannot read must not be what it says. */
const [major = 0, minor = 0] = process.versions.node.split(".").map(Number)

if (major < 22 || (major === 22 && minor < 19)) {
  process.stderr.write(
    `dispynetrelay needs Node.js 22.19 or later, and this is ${process.versions.node}; install it from https://nodejs.org\n`
  )
  process.exit(1)
}

await import("./relay/RelayMain.ts")
