/** Reads the files of a directory tree one after another. */
import { constants } from "node:fs"
import { open, readdir } from "node:fs/promises"

/** The content of a file, or why there is none. */
export type FileContent =
  | { readonly path: string; readonly content: Uint8Array }
  | { readonly path: string; readonly skipped: string }

// Names of files are bytes, which need not be UTF-8: "latin1" keeps every one of them.
const asBytes = (path: string): Buffer => Buffer.from(path, "latin1")

/** A path for people: on one line, and without anything that a terminal would obey. */
const shown = (path: string): string =>
  asBytes(path).toString().replaceAll(/\p{Cc}/gu, (character) => JSON.stringify(`\u0000${character}`).slice(7, -1))

const reasonOf = (error: unknown): string => error instanceof Error ? error.message.replace(/, .*/s, "") : String(error)

const read = async (path: string, limitBytes: number): Promise<Uint8Array | string> => {
  // Not blocking: opening a named pipe would wait for somebody who writes to it.
  const file = await open(asBytes(path), constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK)
  try {
    const { size } = await file.stat()
    if (size > limitBytes) return `${size} bytes are more than the ${limitBytes} that fit into a job`
    const content = await file.readFile()
    return content.length > limitBytes ? "it has grown too large while it was read" : content
  } finally {
    await file.close()
  }
}

/** Every file below a directory, always in the same order; what is no ordinary file, and links, are skipped. */
export async function* filesOf(directory: string, limitBytes: number): AsyncGenerator<FileContent> {
  const entries = await readdir(asBytes(directory), { withFileTypes: true, encoding: "latin1" })
  entries.sort((a, b) => a.name < b.name ? -1 : 1)
  for (const entry of entries) {
    const inner = `${directory}/${entry.name}`
    const path = shown(inner)
    try {
      if (entry.isDirectory()) {
        yield* filesOf(inner, limitBytes)
      } else if (entry.isFile()) {
        const content = await read(inner, limitBytes)
        yield typeof content === "string" ? { path, skipped: content } : { path, content }
      } else {
        yield { path, skipped: entry.isSymbolicLink() ? "it is a link" : "it is not a file" }
      }
    } catch (error) {
      yield { path, skipped: reasonOf(error) }
    }
  }
}
