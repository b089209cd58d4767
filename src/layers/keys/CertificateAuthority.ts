/**
 * A small certificate authority in a directory:
 *
 * ```
 * ca.pem               its certificate, which all peers have (`cafile`)
 * ca-key.pem           its key, which stays here
 * node-NAME.pem        key and certificate of a node (`certfile`)
 * client-NAME.pem      key and certificate of a client (`certfile`)
 * ```
 */
import { Clock, Effect } from "effect"
import { createPrivateKey, type KeyObject, X509Certificate } from "node:crypto"
import * as path from "node:path"
import { AuthorityUnusable, type KeyFileExists, type KeyFileFailed } from "../../domain/keys/KeysError.ts"
import * as PeerName from "../../domain/keys/PeerName.ts"
import { messageOf } from "../../domain/Thrown.ts"
import * as KeyFile from "./KeyFile.ts"
import type { Authority } from "./X509.ts"

/** Milliseconds of a day. */
const dayMillis = 86_400_000

/** Certificates are valid from a little before they are made: the clocks of other machines may be behind. */
const backdatedMillis = 3_600_000

/** What to make. */
export interface AuthorityOptions {
  /** Made if it is not there. */
  readonly directory: string
  readonly peers: ReadonlyArray<PeerName.PeerName>
  /** How long certificates of peers are valid, at most as long as the authority's. */
  readonly days: number
  /** How long the certificate of a new authority is valid. */
  readonly authorityDays: number
  /** Replace certificates of peers that are there; the authority never. */
  readonly force: boolean
}

/** A certificate that was made. */
export interface Issued {
  readonly role: PeerName.PeerRole | "authority"
  readonly name: string
  /** Its file. */
  readonly file: string
  /** Milliseconds since 1970. */
  readonly notAfter: number
}

/** What was made, and where it is signed from. */
export interface AuthorityReport {
  readonly certificateFile: string
  readonly keyFile: string
  readonly issued: ReadonlyArray<Issued>
}

const x509 = Effect.promise(() => import("./X509.ts"))

interface Checked {
  readonly certificate: X509Certificate
  readonly key: KeyObject
}

/** Its certificate and key fit, and it may sign today. */
const check = (directory: string, authority: Authority, now: number): Effect.Effect<Checked, AuthorityUnusable> =>
  Effect.gen(function*() {
    const refuse = (reason: string) => new AuthorityUnusable({ directory, reason })
    const { certificate, key } = yield* Effect.try({
      try: () => ({ certificate: new X509Certificate(authority.certificate), key: createPrivateKey(authority.key) }),
      catch: (error) => refuse(`its files are damaged (${messageOf(error)})`)
    })
    if (!certificate.ca) return yield* refuse("ca.pem is no authority's certificate")
    if (!certificate.checkPrivateKey(key)) return yield* refuse("ca-key.pem is not the key of ca.pem")
    if (key.asymmetricKeyDetails?.namedCurve !== "prime256v1") {
      return yield* refuse("its key is not an elliptic curve key on P-256, which dispy keys init makes")
    }
    if (certificate.validToDate.getTime() <= now) {
      return yield* refuse(`it expired on ${certificate.validToDate.toISOString().slice(0, 10)}`)
    }
    return { certificate, key }
  })

/** The authority that is there; undefined when there is none. */
const open = Effect.fnUntraced(function*(directory: string, certificateFile: string, keyFile: string) {
  const certificate = yield* KeyFile.read(certificateFile)
  const key = yield* KeyFile.read(keyFile)
  if (certificate === undefined && key === undefined) return undefined
  if (certificate === undefined || key === undefined) {
    const missing = certificate === undefined ? certificateFile : keyFile
    return yield* new AuthorityUnusable({ directory, reason: `${missing} is missing` })
  }
  return { certificate, key }
})

/** Makes the authority if there is none, and certificates of peers; one that is there fails it before any is made. */
export const run = Effect.fn("CertificateAuthority.run")(function*(
  { authorityDays, days, directory, force, peers }: AuthorityOptions
): Effect.fn.Return<AuthorityReport, AuthorityUnusable | KeyFileExists | KeyFileFailed> {
  const now = yield* Clock.currentTimeMillis
  const notBefore = now - backdatedMillis
  const certificateFile = path.join(directory, "ca.pem")
  const keyFile = path.join(directory, "ca-key.pem")
  const files = peers.map((peer) => path.join(directory, PeerName.fileName(peer)))
  if (!force) yield* KeyFile.areFree(files)
  yield* KeyFile.makeDirectory(directory)
  const issued: Array<Issued> = []
  let authority = yield* open(directory, certificateFile, keyFile)
  if (authority === undefined) {
    const { makeAuthority } = yield* x509
    const notAfter = now + authorityDays * dayMillis
    const made = yield* Effect.promise(() => makeAuthority({ notBefore, notAfter }))
    yield* KeyFile.write(keyFile, made.key, { mode: KeyFile.privateMode, force: false })
    yield* KeyFile.write(certificateFile, made.certificate, { mode: KeyFile.publicMode, force: false })
    issued.push({ role: "authority", name: "ca", file: certificateFile, notAfter })
    authority = made
  }
  const signer = authority
  const { certificate } = yield* check(directory, signer, now)
  const notAfter = Math.min(now + days * dayMillis, certificate.validToDate.getTime())
  for (const [i, peer] of peers.entries()) {
    const { issue } = yield* x509
    const pem = yield* Effect.promise(() => issue(signer, peer, { notBefore, notAfter }))
    yield* KeyFile.write(files[i]!, pem, { mode: KeyFile.privateMode, force })
    issued.push({ role: peer.role, name: peer.name, file: files[i]!, notAfter })
  }
  return { certificateFile, keyFile, issued }
})
