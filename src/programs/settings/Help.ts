/** What `--help` of a program prints: the library's page with the options under headings. */
import { CliOutput } from "effect/cli"
import type { HelpDoc } from "effect/cli"

/** Headings, with the names of the options under each. */
export type Groups = ReadonlyArray<readonly [heading: string, names: ReadonlyArray<string>]>

/** The lines of one section, without its heading. */
const sectionOf = (page: string, heading: string): string => page.split(`${heading}\n`)[1]?.split("\n\n")[0] ?? ""

/** The library's formatter with sections for groups of options. */
export const formatter = (groups: Groups): CliOutput.Formatter => {
  const plain = CliOutput.defaultFormatter({ colors: false })
  const formatHelpDoc = (doc: HelpDoc.HelpDoc): string => {
    const page = plain.formatHelpDoc(doc)
    const lines = sectionOf(page, "\nFLAGS").split("\n")
    const ofNames = (names: ReadonlyArray<string>) =>
      names.flatMap((name) => lines.filter((line) => line.trimStart().split(/[ ,]/)[0] === `--${name}`))
    const sections = groups.map(([heading, names]) => `${heading}\n${ofNames(names).join("\n")}`)
    return page.replace(`FLAGS\n${lines.join("\n")}`, () => sections.join("\n\n"))
  }
  const base = CliOutput.defaultFormatter()
  return {
    formatHelpDoc,
    formatCliError: (error) => base.formatCliError(error),
    formatError: (error) => base.formatError(error),
    formatErrors: (errors) => base.formatErrors(errors),
    formatVersion: (name, version) => base.formatVersion(name, version)
  }
}
