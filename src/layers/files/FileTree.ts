/**
 * A directory into which files of a peer go, and nothing beside it is ever
 * touched: no link is followed at any level, whoever else changes the directory at
 * the same time. On Linux every step is relative to a directory that is open
 * (`/proc/self/fd`), so that a parent that is exchanged for a link in between
 * leads nowhere; elsewhere each parent is looked at.
 *
 * Synchronous on purpose: a few calls for names that are in memory, on the
 * machine's own disk, while thousands of small files come in.
 */
import * as fs from "node:fs"
import * as path from "node:path"
import * as RelativePath from "../../domain/transfer/RelativePath.ts"

const { O_DIRECTORY, O_NOFOLLOW, O_NONBLOCK, O_RDONLY } = fs.constants

const isLinux = process.platform === "linux" && fs.existsSync("/proc/self/fd")

/** What is wrong with a path or with what is there. */
export class FileTreeError extends Error {
  override readonly name = "FileTreeError"
}

const codeOf = (error: unknown): string => (error as NodeJS.ErrnoException | undefined)?.code ?? ""

const namesOf = (relative: string): Array<string> => {
  const wrong = RelativePath.problem(relative)
  if (wrong !== undefined) {
    throw new FileTreeError(`the path ${JSON.stringify(relative.slice(0, 200))} is refused: ${wrong}`)
  }
  return relative.split("/")
}

/** A directory that is open, or known not to be a link. */
interface Place {
  readonly fd: number
  readonly path: string
}

const notADirectory = (name: string) => new FileTreeError(`${name} is not a directory, or a link`)

const openPlace = (at: string, shown: string): Place => {
  if (!isLinux) {
    if (!fs.lstatSync(at).isDirectory()) throw notADirectory(shown)
    return { fd: -1, path: at }
  }
  try {
    const fd = fs.openSync(at, O_RDONLY | O_DIRECTORY | O_NOFOLLOW)
    return { fd, path: `/proc/self/fd/${fd}` }
  } catch (error) {
    if (codeOf(error) === "ENOTDIR" || codeOf(error) === "ELOOP") throw notADirectory(shown)
    throw error
  }
}

const closePlace = (place: Place): void => {
  if (place.fd >= 0) fs.closeSync(place.fd)
}

const enter = (parent: Place, name: string, shown: string, isMaking: boolean): Place => {
  const at = path.join(parent.path, name)
  try {
    return openPlace(at, shown)
  } catch (error) {
    if (!isMaking || codeOf(error) !== "ENOENT") throw error
  }
  try {
    fs.mkdirSync(at, { mode: 0o777 })
  } catch (error) {
    if (codeOf(error) !== "EEXIST") throw error
  }
  return openPlace(at, shown)
}

/** Does something in the directory of a path below `root`. */
const within = <A>(root: string, relative: string, isMaking: boolean, use: (file: string) => A): A => {
  const names = namesOf(relative)
  let place = openPlace(root, root)
  try {
    for (const [i, name] of names.slice(0, -1).entries()) {
      const next = enter(place, name, names.slice(0, i + 1).join("/"), isMaking)
      closePlace(place)
      place = next
    }
    return use(path.join(place.path, names.at(-1)!))
  } finally {
    closePlace(place)
  }
}

/** How a file is to look. */
export interface Look {
  /** Permission bits; those of the process's mask are taken off. */
  readonly mode: number
  /** Time of the last change; absent for now. */
  readonly modifiedMillis?: number | undefined
}

const mask = process.umask()

/**
 * Puts a finished file of the same file system at a place below `root`, whole, in place of what was there. Throws when
 * a directory is there, or a parent is none.
 */
export const place = (root: string, relative: string, from: string, look: Look): void => {
  fs.chmodSync(from, look.mode & 0o777 & ~mask)
  if (look.modifiedMillis !== undefined) fs.utimesSync(from, look.modifiedMillis / 1000, look.modifiedMillis / 1000)
  within(root, relative, true, (file) => {
    try {
      // A link that is there is replaced, not followed.
      fs.renameSync(from, file)
    } catch (error) {
      if (codeOf(error) === "EISDIR" || codeOf(error) === "ENOTEMPTY") {
        throw new FileTreeError(`${relative} is a directory`)
      }
      throw error
    }
  })
}

/** A file below `root` that is open for reading; undefined when there is none. Links and devices are none. */
export const open = (
  root: string,
  relative: string
): { readonly fd: number; readonly sizeBytes: number } | undefined => {
  try {
    return within(root, relative, false, (file) => {
      const fd = fs.openSync(file, O_RDONLY | (O_NOFOLLOW ?? 0) | (O_NONBLOCK ?? 0))
      const stats = fs.fstatSync(fd)
      if (stats.isFile()) return { fd, sizeBytes: stats.size }
      fs.closeSync(fd)
      return undefined
    })
  } catch {
    return undefined
  }
}

/** Removes a file below `root`, and the directories above it that are empty then. What is not there, or no file, stays. */
export const remove = (root: string, relative: string): void => {
  try {
    within(root, relative, false, (file) => fs.unlinkSync(file))
    const names = namesOf(relative)
    for (let depth = names.length - 1; depth > 0; depth--) {
      within(root, names.slice(0, depth).join("/"), false, (directory) => fs.rmdirSync(directory))
    }
  } catch {
    // Somebody else has removed it, or has put something else there.
  }
}
