import { Result } from "effect"
import * as fc from "fast-check"
import { describe, expect, it } from "vitest"
import { commands, help, parse } from "../../../src/domain/node/ConsoleCommand.ts"

const wrong = (line: string): string => Result.getOrThrow(Result.flip(parse(line)))

describe("a line of the console", () => {
  it("is a command in any case and with any blanks around it", () => {
    for (const [usage] of commands) {
      const line = usage.replace("N", "-1")
      for (const typed of [line, line.toUpperCase(), `  ${line}\t`, line.replace(" ", "   ")]) {
        expect(Result.isSuccess(parse(typed))).toBe(true)
      }
    }
  })

  it("is a request for the status when it is empty, as in dispy", () => {
    for (const line of ["", "   ", "\t"]) expect(Result.getOrThrow(parse(line))).toEqual({ _tag: "Status" })
  })

  it("has a number for cpus, also one below zero", () => {
    expect(Result.getOrThrow(parse("cpus -1"))).toEqual({ _tag: "Cpus", cpus: -1 })
    for (const line of ["cpus", "cpus x", "cpus 1.5", "cpus 1 2", "cpus 99999999"]) {
      expect(wrong(line)).toContain("one whole number")
    }
  })

  it("that is wrong says what may have been meant", () => {
    expect(wrong("quti")).toBe("there is no command \"quti\"; did you mean quit?")
    expect(wrong("cpu")).toContain("did you mean cpus?")
    expect(wrong("constructor")).toContain("type help for the list")
    expect(wrong("stop now")).toBe("stop takes nothing behind it")
  })

  it("never throws", () => {
    fc.assert(fc.property(fc.string(), (line) => {
      parse(line)
    }))
  })

  it("is explained by the help, all of them", () => {
    expect(help().split("\n")).toHaveLength(commands.length)
  })
})
