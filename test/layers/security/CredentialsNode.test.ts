/** Credentials from what a user wrote: which of it counts, and what is wrong with it. */
import { Result } from "effect"
import * as fs from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { afterEach, beforeEach, describe, expect, it } from "vitest"
import * as X509 from "../../../src/layers/keys/X509.ts"
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
  const day = 86_400_000

  /** Certificate and key of a node, valid from and until so many days from now. */
  const aPeer = async (from: number, until: number): Promise<string> => {
    const validity = { notBefore: Date.now() + from * day, notAfter: Date.now() + until * day }
    return await X509.issue(await X509.makeAuthority(validity), {
      role: "node",
      name: "a",
      hostNames: ["a"],
      ipAddresses: []
    }, validity)
  }

  it("that has expired, or is not valid yet, is refused and says since when; so is such an authority", async () => {
    const [old, early, good] = [await aPeer(-3, -1), await aPeer(1, 3), await aPeer(-1, 3)]
    expect(problem({ certfile: file("certfile", old) })).toMatch(
      /^--certfile \S+ cannot be used: its certificate has expired on \d{4}-\d\d-\d\dT\S+Z; make a new one$/
    )
    expect(problem({ certfile: file("certfile", early) })).toMatch(/is valid from \d{4}-.* on; check the clock of this/)
    expect(problem({ certfile: file("certfile", good), cafile: file("cafile", old) })).toMatch(
      /^--cafile \S+ cannot be used: its certificate has expired on/
    )
    expect(problem({ certfile: file("certfile", good) })).toBe("no problem")
  })

  it("needs its own key, which others must not read; that may be in a file of its own", async () => {
    const [mine, other] = [await aPeer(-1, 3), await aPeer(-1, 3)]
    const certificate = mine.slice(mine.indexOf("-----BEGIN CERTIFICATE"), mine.indexOf("-----END CERTIFICATE") + 26)
    const keyOf = (pem: string): string => /-----BEGIN PRIVATE KEY[^]*END PRIVATE KEY-----\n/.exec(pem)![0]
    const certfile = file("certfile", certificate, 0o644)
    expect(problem({ certfile, keyfile: file("keyfile", keyOf(mine)) })).toBe("no problem")
    expect(problem({ certfile, keyfile: file("keyfile", keyOf(other)) })).toBe(
      `--keyfile ${join(folder, "keyfile")} cannot be used: its key is not that of the certificate in ${certfile.text}`
    )
    expect(problem({ certfile })).toMatch(/no private key in PEM form; name the file that has it with keyfile$/)
    expect(problem({ certfile, keyfile: file("open", keyOf(mine), 0o640) })).toMatch(
      /other users may read it \(mode 640/
    )
    expect(problem({ certfile: file("certfile", mine, 0o644) })).toMatch(/other users may read it/)
  })

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
