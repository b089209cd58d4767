/**
 * Which names of files a peer may send. A path that passes names one file below
 * the receiver's directory on every file system there is: no way up or out, no
 * name that some system reads as another file or as a device, and no two names
 * that are one file where case or composition do not count.
 */

/** Longest path, and longest name in it, in bytes of UTF-8. */
const maxPathBytes = 2048
const maxNameBytes = 255

/** Names of devices on Windows, also with an ending: "nul.txt" is the device. */
const device = /^(con|prn|aux|nul|conin\$|conout\$|clock\$|com[0-9¹²³]|lpt[0-9¹²³])(\.|$)/i

/** Files that a receiver makes for itself while a transfer is under way. */
export const partialPrefix = ".dispy-"

/** Bytes of a well-formed text in UTF-8. */
const bytesOf = (text: string): number => {
  let bytes = 0
  for (const character of text) {
    const code = character.codePointAt(0)!
    bytes += code < 0x80 ? 1 : code < 0x800 ? 2 : code < 0x10000 ? 3 : 4
  }
  return bytes
}

// oxlint-disable-next-line eslint/no-control-regex -- control characters are what is looked for
const control = /[\u0000-\u001f\u007f-\u009f\u2028\u2029]/

const nameProblem = (name: string): string | undefined => {
  if (name === "") return "it has an empty name between slashes"
  const plain = name.normalize("NFKC")
  if (plain === "." || plain === "..") return `it has the name "${name}", which leads elsewhere`
  if (/[/\\]/.test(plain)) return "a name in it holds a slash or backslash"
  if (/^[a-z]:/i.test(plain)) return "it has a drive letter"
  if (/[. ]$/.test(plain)) return `the name ${JSON.stringify(name)} ends in a dot or blank, which some systems drop`
  if (device.test(plain)) return `${JSON.stringify(name)} is a device on some systems`
  if (name.startsWith(partialPrefix)) return `names that begin with ${partialPrefix} are dispy's own`
  if (bytesOf(name) > maxNameBytes) return `a name in it is longer than ${maxNameBytes} bytes`
  return undefined
}

/** What is wrong with a path that is to be relative, with "/" between names; undefined when nothing is. */
export const problem = (path: string): string | undefined => {
  if (path === "") return "it is empty"
  if (path.length > maxPathBytes) return `it is longer than ${maxPathBytes} bytes`
  if (!path.isWellFormed()) return "it is not well-formed text"
  if (control.test(path)) return "it holds control characters"
  if (path.startsWith("/")) return "it is absolute"
  if (path.includes("\\")) return "it holds a backslash"
  if (bytesOf(path) > maxPathBytes) return `it is longer than ${maxPathBytes} bytes`
  for (const name of path.split("/")) {
    const wrong = nameProblem(name)
    if (wrong !== undefined) return wrong
  }
  return undefined
}

/** The same text for all names that are one file on some file system. */
export const fold = (path: string): string => path.normalize("NFKC").toUpperCase().toLowerCase().normalize("NFKC")

/** Two of the paths that cannot be there together: the same file, or one a file and the other a directory of it. */
export const collision = (paths: Iterable<string>): readonly [string, string] | undefined => {
  const files = new Map<string, string>()
  for (const path of paths) {
    const folded = fold(path)
    const other = files.get(folded)
    if (other !== undefined) return [other, path]
    files.set(folded, path)
  }
  for (const [folded, path] of files) {
    for (let at = folded.indexOf("/"); at >= 0; at = folded.indexOf("/", at + 1)) {
      const file = files.get(folded.slice(0, at))
      if (file !== undefined) return [file, path]
    }
  }
  // Directories that differ in case are one directory there, and two here.
  const directories = new Map<string, string>()
  for (const path of files.values()) {
    for (let at = path.indexOf("/"); at >= 0; at = path.indexOf("/", at + 1)) {
      const directory = path.slice(0, at)
      const other = directories.get(fold(directory))
      if (other !== undefined && other !== directory) return [other, directory]
      directories.set(fold(directory), directory)
    }
  }
  return undefined
}
