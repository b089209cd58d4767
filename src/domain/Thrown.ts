/** What was thrown, in words: anything can be, not only errors. */

/** The message of an error, and whatever else was thrown as text. */
export const messageOf = (thrown: unknown): string => thrown instanceof Error ? thrown.message : String(thrown)
