/** Credentials from what a user wrote: which of it counts, and what is wrong with it. */
import { Result } from "effect"
import * as fs from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { afterEach, beforeEach, describe, expect, it } from "vitest"
import * as CredentialsNode from "../../../src/layers/security/CredentialsNode.ts"

let folder = ""
beforeEach(() => {
  folder = fs.mkdtempSync(join(tmpdir(), "dispy-credentials-"))
})
afterEach(() => fs.rmSync(folder, { recursive: true }))

const nothing = CredentialsNode.given({}, {}, [])

const file = (name: string, text: string, mode = 0o600): CredentialsNode.Given => {
  const path = join(folder, name)
  fs.writeFileSync(path, text)
  fs.chmodSync(path, mode)
  return { where: `--${name}`, text: path }
}

const read = (given: Partial<CredentialsNode.GivenCredentials>) => CredentialsNode.read({ ...nothing, ...given })

const problem = (given: Partial<CredentialsNode.GivenCredentials>): string =>
  Result.match(read(given), { onFailure: ({ message }) => message, onSuccess: () => "no problem" })

const long = "a secret that is long enough"

describe("a secret", () => {
  it("gives the same keys wherever it is written, and other keys than any other secret", () => {
    const keysOf = (given: Partial<CredentialsNode.GivenCredentials>) => {
      const read_ = Result.getOrThrow(read(given))
      if (read_._tag !== "Secret") throw new Error("no secret")
      return [Buffer.from(read_.tlsKey).toString("hex"), Buffer.from(read_.datagramKey).toString("hex")]
    }
    const told = keysOf({ secret: { where: "secret", text: long } })
    expect(keysOf({ secretFile: file("secret-file", `${long}\n`) })).toEqual(told)
    const other = keysOf({ secret: { where: "secret", text: `${long}!` } })
    expect(new Set([...told, ...other]).size).toBe(4)
  })

  it("that is short, missing or open to others is refused with what to do", () => {
    expect(problem({ secret: { where: "DISPY_SECRET", text: "short" } })).toMatch(
      /^DISPY_SECRET cannot be used: a secret has at least 16 characters; `dispy keys init`/
    )
    expect(problem({ secretFile: { where: "--secret-file", text: "/no/such" } })).toBe(
      "--secret-file /no/such cannot be used: there is no such file"
    )
    const open = file("open", long, 0o644)
    expect(problem({ secretFile: open })).toBe(
      `--open ${open.text} cannot be used: other users may read it (mode 644): chmod 600 ${open.text}`
    )
    expect(problem({ secretFile: file("empty", "\n") })).toMatch(/at least 16 characters/)
  })
})

describe("a certificate", () => {
  it("needs its parts, and goes with no secret", () => {
    const certfile = file("certfile", "no certificate")
    expect(problem({ certfile })).toMatch(/it has no certificate in PEM form/)
    expect(problem({ keyfile: certfile })).toBe("--certfile cannot be used: it needs certfile as well")
    expect(problem({ certfile, secret: { where: "secret", text: long } })).toMatch(/either of them is enough/)
  })
})

describe("what counts", () => {
  it("is what the program was told, else the first part of the environment that says anything", () => {
    const environment = { DISPYNODE_SECRET_FILE: "node", DISPY_SECRET: "both", DISPY_CERTFILE: "" }
    const prefixes = ["DISPYNODE_", "DISPY_"]
    const told = { certfile: { where: "certfile", text: "cert.pem" } }
    expect(CredentialsNode.given(told, environment, prefixes)).toEqual({ ...nothing, ...told })
    expect(CredentialsNode.given({}, environment, prefixes)).toEqual({
      ...nothing,
      secretFile: { where: "DISPYNODE_SECRET_FILE", text: "node" }
    })
    expect(CredentialsNode.given({}, environment, ["DISPY_"])).toEqual({
      ...nothing,
      secret: { where: "DISPY_SECRET", text: "both" }
    })
    expect(Result.getOrThrow(CredentialsNode.read(nothing))._tag).toBe("None")
  })
})
