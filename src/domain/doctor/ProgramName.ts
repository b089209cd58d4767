/** What a process runs, by its command line. */

/** Programs of this package. */
const programs = new Set(["dispy", "dispynode", "dispyscheduler", "dispynetrelay"])

const baseName = (path: string): string => path.slice(path.lastIndexOf("/") + 1)

const withoutExtension = (name: string): string => name.replace(/\.[cm]?[jt]s$/, "")

/** The name that people know it by, and whether it is one of this package's. */
export const of = (words: ReadonlyArray<string>): { readonly program: string; readonly isDispy: boolean } => {
  const [command = "", ...args] = words
  const name = baseName(command)
  if (!/^node(js)?(\d|$)/.test(name)) return { program: name, isDispy: programs.has(name) }
  const script = args.find((word) => programs.has(withoutExtension(baseName(word)))) ??
    args.find((word) => !word.startsWith("-"))
  if (script === undefined) return { program: name, isDispy: false }
  const program = withoutExtension(baseName(script))
  return { program, isDispy: programs.has(program) }
}
