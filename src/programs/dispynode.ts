#!/usr/bin/env node
/** The program `dispynode`. Nothing is imported before the check: what an old Node cannot read must not be what it says. */
const [major = 0, minor = 0] = process.versions.node.split(".").map(Number)

if (major < 22 || (major === 22 && minor < 19)) {
  process.stderr.write(
    `dispynode needs Node.js 22.19 or later, and this is ${process.versions.node}; install it from https://nodejs.org\n`
  )
  process.exit(1)
}

// A mask that takes its own files away from it would have it fail at the first of them, and leave that unusable.
process.umask(process.umask() & 0o077)

await import("./node/NodeMain.ts")
