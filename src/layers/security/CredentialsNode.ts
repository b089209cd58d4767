/**
 * Credentials from what a user wrote, and from files. A secret becomes keys by scrypt, so that a short one costs whoever
 * guesses (RFC 7914; N = 2^15, r = 8, p = 1: 32 MiB and a tenth of a second, once per process), and by HKDF one key for
 * each use (RFC 5869).
 */
import { Result } from "effect"
import { createPrivateKey, hkdfSync, scryptSync, X509Certificate } from "node:crypto"
import * as fs from "node:fs"
import { type Credentials, none, type Secret } from "../../domain/security/Credentials.ts"
import { CredentialsError } from "../../domain/security/CredentialsError.ts"
import { messageOf } from "../../domain/Thrown.ts"

/** Characters that a secret has at least. */
const leastSecret = 16

/** A value and where it was written. */
export interface Given {
  /** "--secret-file", "DISPY_SECRET", "certfile" … */
  readonly where: string
  readonly text: string
}

/** What a user wrote; each of them may be left out. */
export interface GivenCredentials {
  readonly secret: Given | undefined
  readonly secretFile: Given | undefined
  readonly certfile: Given | undefined
  readonly keyfile: Given | undefined
  readonly cafile: Given | undefined
}

const fail = (where: string, reason: string): never => {
  throw new CredentialsError({ where, reason })
}

const keys = new Map<string, Secret>()

/** The keys that a secret stands for. */
const derive = (secret: string): Secret => {
  const known = keys.get(secret)
  if (known !== undefined) return known
  const main = scryptSync(secret, "dispy secret 1", 32, { N: 2 ** 15, r: 8, p: 1, maxmem: 64 * 2 ** 20 })
  const keyFor = (use: string): Uint8Array => new Uint8Array(hkdfSync("sha256", main, "", use, 32))
  const made: Secret = { _tag: "Secret", tlsKey: keyFor("dispy tls"), datagramKey: keyFor("dispy datagrams") }
  keys.set(secret, made)
  return made
}

const secretOf = (where: string, text: string): Secret =>
  Array.from(text).length < leastSecret
    ? fail(where, `a secret has at least ${leastSecret} characters; \`dispy keys init\` makes a good one`)
    : derive(text)

const readText = ({ text, where }: Given): string => {
  try {
    return fs.readFileSync(text, "utf8")
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException
    const reason = code === "ENOENT"
      ? "there is no such file"
      : code === "EACCES"
      ? "this user may not read it"
      : messageOf(error)
    return fail(`${where} ${text}`, reason)
  }
}

/** Others of this machine must not read it. */
const checkPrivate = ({ text, where }: Given): void => {
  const mode = fs.statSync(text).mode & 0o777
  if (process.platform !== "win32" && (mode & 0o077) !== 0) {
    fail(`${where} ${text}`, `other users may read it (mode ${mode.toString(8)}): chmod 600 ${text}`)
  }
}

const readSecret = (given: Given): Secret => {
  const text = readText(given).trim()
  checkPrivate(given)
  return secretOf(`${given.where} ${given.text}`, text)
}

const certificateIn = ({ text, where }: Given, pem: string): X509Certificate => {
  try {
    return new X509Certificate(pem)
  } catch {
    return fail(`${where} ${text}`, "it has no certificate in PEM form (-----BEGIN CERTIFICATE-----)")
  }
}

const checkValid = (where: string, { validFromDate, validToDate }: X509Certificate): void => {
  const now = Date.now()
  if (validToDate.getTime() < now) {
    fail(where, `its certificate has expired on ${validToDate.toISOString()}; make a new one`)
  }
  if (validFromDate.getTime() > now) {
    fail(where, `its certificate is valid from ${validFromDate.toISOString()} on; check the clock of this machine`)
  }
}

const readCertificate = (certfile: Given, keyfile: Given | undefined, cafile: Given | undefined): Credentials => {
  const where = `${certfile.where} ${certfile.text}`
  const cert = readText(certfile)
  const certificate = certificateIn(certfile, cert)
  // dispy takes both from one file as well.
  const keyGiven = keyfile ?? certfile
  const key = keyfile === undefined ? cert : readText(keyfile)
  if (!key.includes("PRIVATE KEY-----")) {
    const hint = keyfile === undefined ? "; name the file that has it with keyfile" : ""
    fail(`${keyGiven.where} ${keyGiven.text}`, `it has no private key in PEM form${hint}`)
  }
  checkPrivate(keyGiven)
  checkValid(where, certificate)
  try {
    if (!certificate.checkPrivateKey(createPrivateKey(key))) {
      fail(`${keyGiven.where} ${keyGiven.text}`, `its key is not that of the certificate in ${certfile.text}`)
    }
  } catch (error) {
    if (error instanceof CredentialsError) throw error
    fail(
      `${keyGiven.where} ${keyGiven.text}`,
      `its key cannot be read (${messageOf(error)}); one without a password is needed`
    )
  }
  if (cafile === undefined) return { _tag: "Certificate", cert, key, ca: cert, isPinned: true }
  const ca = readText(cafile)
  checkValid(`${cafile.where} ${cafile.text}`, certificateIn(cafile, ca))
  return { _tag: "Certificate", cert, key, ca, isPinned: false }
}

const load = ({ cafile, certfile, keyfile, secret, secretFile }: GivenCredentials): Credentials => {
  const word = secret ?? secretFile
  if (certfile !== undefined) {
    if (word !== undefined) fail(`${word.where} with ${certfile.where}`, "either of them is enough; leave one out")
    return readCertificate(certfile, keyfile, cafile)
  }
  const alone = keyfile ?? cafile
  if (alone !== undefined) fail(alone.where, "it needs certfile as well")
  if (secret !== undefined) return secretOf(secret.where, secret.text)
  return secretFile === undefined ? none : readSecret(secretFile)
}

/** Reads and checks credentials; none where nothing was given. */
export const read = (given: GivenCredentials): Result.Result<Credentials, CredentialsError> =>
  Result.try({ try: () => load(given), catch: (error) => error as CredentialsError })

/** The names that the environment has for each, with a prefix: DISPY_SECRET, DISPY_SECRET_FILE, DISPY_CERTFILE … */
const variables: Readonly<Record<keyof GivenCredentials, string>> = {
  secret: "SECRET",
  secretFile: "SECRET_FILE",
  certfile: "CERTFILE",
  keyfile: "KEYFILE",
  cafile: "CAFILE"
}

/**
 * What counts: what the program itself was told, else what the environment says under the first prefix that has
 * anything.
 */
export const given = (
  told: Partial<GivenCredentials>,
  environment: Readonly<Record<string, string | undefined>>,
  prefixes: ReadonlyArray<string>
): GivenCredentials => {
  const nothing: GivenCredentials = {
    secret: undefined,
    secretFile: undefined,
    certfile: undefined,
    keyfile: undefined,
    cafile: undefined
  }
  const isGiven = (all: Partial<GivenCredentials>): boolean => Object.values(all).some((one) => one !== undefined)
  if (isGiven(told)) return { ...nothing, ...told }
  const found = prefixes.map((prefix): Partial<GivenCredentials> =>
    Object.fromEntries(
      Object.entries(variables).flatMap(([name, suffix]) => {
        const text = environment[prefix + suffix]
        return text === undefined || text === "" ? [] : [[name, { where: prefix + suffix, text }]]
      })
    )
  )
  return { ...nothing, ...found.find(isGiven) }
}
