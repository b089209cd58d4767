/** Whether this Node is new enough. Imports nothing, and has nothing in it that an old Node cannot read. */

/** Ends the process with a sentence where it is not. */
export const check = (program: string): void => {
  const [major = 0, minor = 0] = process.versions.node.split(".").map(Number)
  if (major > 22 || (major === 22 && minor >= 19)) return
  process.stderr.write(
    `${program} needs Node.js 22.19 or later, and this is ${process.versions.node}; install it from https://nodejs.org\n`
  )
  process.exit(1)
}
