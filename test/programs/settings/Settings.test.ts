import { Result } from "effect"
import * as fc from "fast-check"
import * as fs from "node:fs"
import * as os from "node:os"
import * as path from "node:path"
import { describe, expect, it } from "vitest"
import * as Setting from "../../../src/programs/settings/Setting.ts"
import * as Settings from "../../../src/programs/settings/Settings.ts"

const group = "GROUP"

const table = {
  cpus: Setting.whole({
    about: "a",
    group,
    byDefault: 0,
    what: "a number of cpus",
    least: -8,
    most: 8,
    hint: "there are 8"
  }),
  name: Setting.text({ about: "a", group }),
  "ip-addr": Setting.texts({ about: "a", group }),
  debug: Setting.onOff({ about: "a", group }),
  grace: Setting.seconds({ about: "a", group, byDefault: 5 }),
  start: Setting.timeOfDay({ about: "a", group })
}

type Values = Settings.Values<typeof table>

const merge = (sources: Partial<Settings.Sources>) =>
  Settings.merge(table, { flags: {}, environment: {}, prefix: "P_", file: undefined, ...sources })

const good = (sources: Partial<Settings.Sources>): Values => Result.getOrThrow(merge(sources)).values

const wrong = (sources: Partial<Settings.Sources>): string => Result.getOrThrow(Result.flip(merge(sources)))

const fileWith = (values: Record<string, unknown>): Settings.ConfigFile => ({ path: "f.json", values })

const anyValues: fc.Arbitrary<Values> = fc.record({
  cpus: fc.integer({ min: -8, max: 8 }),
  name: fc.string(),
  "ip-addr": fc.array(fc.string()),
  debug: fc.boolean(),
  grace: fc.integer({ min: 0, max: 2_000_000_000 }).map((millis) => millis / 1000),
  start: fc.option(fc.integer({ min: 0, max: 1439 }), { nil: undefined })
})

describe("options", () => {
  it("have their defaults when nobody says anything, also by null in a file", () => {
    const defaults = { cpus: 0, name: "", "ip-addr": [], debug: false, grace: 5, start: undefined }
    expect(good({})).toEqual(defaults)
    expect(good({ file: fileWith({ cpus: null, debug: null, start: null }) })).toEqual(defaults)
  })

  it("are what counts most: the command line, then the environment, then the file", () => {
    const file = fileWith({ cpus: 1, debug: true, "ip-addr": ["a"] })
    const environment = { P_CPUS: "2", P_IP_ADDR: "b, c", P_DEBUG: "" }
    expect(good({ file })).toMatchObject({ cpus: 1, debug: true, "ip-addr": ["a"] })
    expect(good({ file, environment })).toMatchObject({ cpus: 2, debug: true, "ip-addr": ["b", "c"] })
    const flags = { cpus: ["3"], debug: ["false"], "ip-addr": ["d", "e"] }
    expect(good({ file, environment, flags })).toMatchObject({ cpus: 3, debug: false, "ip-addr": ["d", "e"] })
    expect(good({ environment, prefix: "" }).cpus).toBe(0)
  })

  it("say where they were said", () => {
    const { origins } = Result.getOrThrow(
      merge({ file: fileWith({ cpus: 1 }), environment: { P_NAME: "x" }, flags: { grace: ["1h"] } })
    )
    expect(origins).toMatchObject({ cpus: "f.json: cpus", name: "P_NAME", grace: "--grace", start: "--start" })
  })

  it("that are wrong are named with their place", () => {
    expect(wrong({ flags: { cpus: ["x"] } })).toBe("--cpus \"x\" is not a whole number")
    expect(wrong({ flags: { cpus: ["9"] } })).toBe("--cpus 9 is not a number of cpus; there are 8")
    expect(wrong({ environment: { P_DEBUG: "maybe" } })).toBe("P_DEBUG \"maybe\" is neither true nor false")
    expect(wrong({ file: fileWith({ debug: "False" }) })).toBe("f.json: debug \"False\" is neither true nor false")
    expect(wrong({ file: fileWith({ "ip-addr": [1] }) })).toBe("f.json: ip-addr [1] is not a list of texts")
    expect(wrong({ file: fileWith({ name: 1 }) })).toBe("f.json: name 1 is not a text")
    expect(wrong({ file: fileWith({ ip_addr: [] }) })).toBe(
      "f.json: there is no option \"ip_addr\"; did you mean ip-addr?"
    )
    expect(wrong({ file: fileWith({ constructor: 1 }) })).toContain("there is no option \"constructor\"")
  })

  it("are the same after they were saved and read again, and the file is its owner's alone", () => {
    const directory = fs.mkdtempSync(path.join(os.tmpdir(), "dispy-test-"))
    const target = path.join(directory, "saved.json")
    try {
      fc.assert(fc.property(anyValues, (values) => {
        expect(Result.isSuccess(Settings.save(table, values, target))).toBe(true)
        expect(good({ file: Result.getOrThrow(Settings.read(target)) })).toEqual(values)
        expect(fs.statSync(target).mode & 0o777).toBe(0o600)
      }))
      expect(fs.readdirSync(directory)).toEqual(["saved.json"])
    } finally {
      fs.rmSync(directory, { recursive: true })
    }
  })
})

describe("time spans", () => {
  it("are seconds, or have a unit", () => {
    const spans: ReadonlyArray<readonly [string, number]> = [
      ["5", 5],
      ["0.5", 0.5],
      [".5s", 0.5],
      ["500ms", 0.5],
      ["2 s", 2],
      ["3m", 180],
      ["1h", 3600],
      ["1D", 86_400]
    ]
    for (const [text, seconds] of spans) expect(Result.getOrThrow(Setting.parseSeconds(text))).toBe(seconds)
  })

  it("are nothing else", () => {
    for (const text of ["", "s", "5 parsecs", "1e3", "5;", "--5"]) {
      expect(Result.getOrThrow(Result.flip(Setting.parseSeconds(text)))).toContain("500ms, 2s, 3m, 1h")
    }
    expect(Result.getOrThrow(Result.flip(Setting.parseSeconds("-5")))).toContain("less than no time")
    expect(Result.getOrThrow(Result.flip(Setting.parseSeconds("1000d")))).toContain("the longest there is")
  })
})
