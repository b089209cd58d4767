/** The version of the package, which both ends of a connection tell each other. */

/** Kept equal to `package.json` by a test. */
export const packageVersion = "0.1.0"
