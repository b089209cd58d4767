/** Looking at secrets and certificates in files. */
import { describe, expect, it } from "@effect/vitest"
import { Clock, Effect, Result } from "effect"
import * as fs from "node:fs"
import * as path from "node:path"
import * as PeerName from "../../../src/domain/keys/PeerName.ts"
import * as CredentialCheck from "../../../src/layers/doctor/CredentialCheck.ts"
import * as CertificateAuthority from "../../../src/layers/keys/CertificateAuthority.ts"
import * as SecretFile from "../../../src/layers/keys/SecretFile.ts"
import type * as CredentialsNode from "../../../src/layers/security/CredentialsNode.ts"
import * as DaemonProcess from "../../support/DaemonProcess.ts"

const nothing: CredentialsNode.GivenCredentials = {
  secret: undefined,
  secretFile: undefined,
  certfile: undefined,
  keyfile: undefined,
  cafile: undefined
}

const flag = (name: string, text: string): CredentialsNode.Given => ({ where: `--${name}`, text })

/** An authority with a node's and a client's certificate. */
const authority = (directory: string) =>
  CertificateAuthority.run({
    directory,
    peers: [
      Result.getOrThrow(PeerName.parse("node", "alpha")),
      Result.getOrThrow(PeerName.parse("client", "ada"))
    ],
    days: 10,
    authorityDays: 20,
    force: false
  })

describe("CredentialCheck", () => {
  it.live("finds nothing wrong with what dispy keys init makes", () =>
    Effect.gen(function*() {
      const directory = yield* DaemonProcess.aDirectory
      const file = path.join(directory, "secret")
      yield* SecretFile.make(file, false)
      expect(yield* CredentialCheck.check({ ...nothing, secretFile: flag("secret-file", file) })).toEqual({
        kind: "secret",
        refusal: "",
        files: [{ where: "--secret-file", file, isPrivate: true, unreadable: "", mode: 0o600 }],
        secret: { where: `--secret-file ${file}`, characters: 43 },
        certificates: [],
        mismatches: []
      })
      const keys = path.join(directory, "keys")
      yield* authority(keys)
      const found = yield* CredentialCheck.check({
        ...nothing,
        certfile: flag("certfile", path.join(keys, "client-ada.pem")),
        cafile: flag("cafile", path.join(keys, "ca.pem"))
      })
      expect(found).toMatchObject({
        kind: "certificate",
        refusal: "",
        mismatches: [],
        files: [{ isPrivate: true, mode: 0o600 }, { isPrivate: false, mode: 0o644 }],
        certificates: [{ subject: "CN=ada" }, { subject: expect.stringMatching(/^CN=dispy authority /) as string }]
      })
      expect(found.certificates[0]!.notAfter - (yield* Clock.currentTimeMillis)).toBeGreaterThan(9.9 * 86_400_000)
    }))

  it.live("says what cannot be read and why, and counts a secret that is given directly", () =>
    Effect.gen(function*() {
      const directory = yield* DaemonProcess.aDirectory
      const missing = yield* CredentialCheck.check({ ...nothing, secretFile: flag("secret-file", "/not/there") })
      expect(missing).toMatchObject({ files: [{ unreadable: "there is no such file" }], secret: undefined })
      const isDirectory = yield* CredentialCheck.check({ ...nothing, secretFile: flag("secret-file", directory) })
      expect(isDirectory.files[0]!.unreadable).toBe("it is a directory")
      const direct = yield* CredentialCheck.check({ ...nothing, secret: { where: "DISPY_SECRET", text: "kätzchen" } })
      expect(direct).toMatchObject({ kind: "secret", files: [], secret: { where: "DISPY_SECRET", characters: 8 } })
      expect(yield* CredentialCheck.check(nothing)).toMatchObject({ kind: "none", files: [], mismatches: [] })
    }))

  it.live("names what does not fit together", () =>
    Effect.gen(function*() {
      const directory = yield* DaemonProcess.aDirectory
      const [ours, theirs] = [path.join(directory, "ours"), path.join(directory, "theirs")]
      yield* authority(ours)
      yield* authority(theirs)
      const text = path.join(directory, "text")
      fs.writeFileSync(text, "no certificate")
      const [node, client, ca] = ["node-alpha.pem", "client-ada.pem", "ca.pem"].map((name) => path.join(ours, name))
      const mistakes = Effect.fnUntraced(function*(given: Partial<CredentialsNode.GivenCredentials>) {
        const { kind, mismatches } = yield* CredentialCheck.check({ ...nothing, ...given })
        return [kind, ...mismatches.map(({ message }) => message)]
      })
      const certfile = flag("certfile", client!)
      expect(yield* mistakes({ cafile: flag("cafile", ca!) })).toEqual([
        "none",
        "--cafile is given without a certificate"
      ])
      expect(yield* mistakes({ certfile, keyfile: flag("keyfile", node!) })).toEqual([
        "certificate",
        `the key in --keyfile ${node} is not that of the certificate in ${client}`
      ])
      expect(yield* mistakes({ certfile: flag("certfile", ca!) })).toEqual([
        "certificate",
        `--certfile ${ca} has no private key in PEM form`
      ])
      expect(yield* mistakes({ certfile: flag("certfile", text) })).toEqual([
        "certificate",
        `--certfile ${text} has no certificate in PEM form`,
        `--certfile ${text} has no private key in PEM form`
      ])
      expect(yield* mistakes({ certfile, cafile: flag("cafile", text) })).toEqual([
        "certificate",
        `--cafile ${text} has no certificate in PEM form`
      ])
      const otherCa = path.join(theirs, "ca.pem")
      expect(yield* mistakes({ certfile, cafile: flag("cafile", otherCa) })).toEqual([
        "certificate",
        `the certificate in ${client} was not signed by the authority in ${otherCa}`
      ])
      expect(yield* mistakes({ certfile, secret: flag("secret", "0123456789abcdef") })).toEqual(["both"])
    }))
})
