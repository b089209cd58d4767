/** What the owner of a node can type at it. */
import { Result } from "effect"
import * as Suggestion from "../Suggestion.ts"

/** A line that was understood. */
export type ConsoleCommand =
  | { readonly _tag: "Help" | "Status" | "Stop" | "Start" | "Release" | "Exit" | "Quit" }
  /** As `--cpus`: 0 for one per core, negative to leave that many free. */
  | { readonly _tag: "Cpus"; readonly cpus: number }

/** The commands, with what they do. */
export const commands: ReadonlyArray<readonly [usage: string, meaning: string]> = [
  ["status", "what this node does now; an empty line does the same"],
  ["cpus N", "offer N cpus: 0 for one per core, negative to leave that many free; running jobs go on"],
  ["stop", "start no more jobs; running ones go on, the others go back to their clients"],
  ["start", "start jobs again"],
  ["release", "take the node back from clients whose connection is broken"],
  ["exit", "take no new clients, end when the last one has gone"],
  ["quit", "end now: running jobs have the drain grace"],
  ["help", "this list"]
]

const tags: Readonly<Record<string, Exclude<ConsoleCommand["_tag"], "Cpus">>> = {
  help: "Help",
  status: "Status",
  stop: "Stop",
  start: "Start",
  release: "Release",
  exit: "Exit",
  quit: "Quit"
}

/** The list of commands, one per line. */
export const help = (): string => commands.map(([usage, meaning]) => `  ${usage.padEnd(9)}${meaning}`).join("\n")

/** Reads a line; fails with what is wrong with it. */
export const parse = (line: string): Result.Result<ConsoleCommand, string> => {
  const [word = "", ...rest] = line.trim().split(/\s+/)
  const name = word.toLowerCase()
  if (name === "") return Result.succeed({ _tag: "Status" })
  if (name === "cpus") {
    const [count, ...more] = rest
    return count !== undefined && more.length === 0 && /^[-+]?\d{1,6}$/.test(count)
      ? Result.succeed({ _tag: "Cpus", cpus: Number(count) })
      : Result.fail("cpus needs one whole number: cpus 2, cpus 0 for one per core, cpus -1 to leave one free")
  }
  const tag = Object.hasOwn(tags, name) ? tags[name] : undefined
  if (tag === undefined) {
    const meant = Suggestion.nearest(name, [...Object.keys(tags), "cpus"])
    const hint = meant === undefined ? "type help for the list" : `did you mean ${meant}?`
    return Result.fail(`there is no command ${JSON.stringify(word)}; ${hint}`)
  }
  return rest.length === 0 ? Result.succeed({ _tag: tag }) : Result.fail(`${name} takes nothing behind it`)
}
