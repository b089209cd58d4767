/** Makes the stacks of a job's errors show the user's code only. */
import { fileURLToPath } from "node:url"

const ownUrl = new URL(".", import.meta.url).href
const ownPath = fileURLToPath(ownUrl)

const isOwn = (line: string): boolean => line.includes(ownUrl) || line.includes(ownPath)

/** Cuts the frames below the user's code: they are the slot's. */
export const trim = (thrown: unknown): void => {
  try {
    if (!(thrown instanceof Error) || typeof thrown.stack !== "string") return
    const lines = thrown.stack.split("\n")
    const first = lines.findIndex(isOwn)
    if (first > 0) thrown.stack = lines.slice(0, first).join("\n")
  } catch {
    // A frozen error or one with getters of its own: it goes as it is.
  }
}

/** One line for people: what was thrown. */
export const describe = (thrown: unknown): string => {
  try {
    if (thrown instanceof Error) {
      return thrown.name === "LoadError"
        ? thrown.message
        : `${thrown.name}: ${thrown.message}`
    }
    return `${typeof thrown} was thrown: ${String(thrown)}`
  } catch {
    return "something was thrown that cannot be shown"
  }
}

/** The same with the first place of the user's code where it was thrown, if that is known. */
export const describeWithPlace = (thrown: unknown): string => {
  trim(thrown)
  const line = describe(thrown)
  const isOfUser = thrown instanceof Error && thrown.name !== "LoadError"
  const place = isOfUser ? /^ {4}at .*$/m.exec(String(thrown.stack))?.[0].trim() : undefined
  return place === undefined ? line : `${line} (${place})`
}
