/** Looks at the user's secret and certificates without using them: what is there, who can read it, how long it counts. */
import { Effect, Result } from "effect"
import { createPrivateKey, X509Certificate } from "node:crypto"
import * as fs from "node:fs"
import type { CertificateFact, CredentialFacts, KeyFileFact } from "../../domain/doctor/Facts.ts"
import { messageOf } from "../../domain/Thrown.ts"
import * as CredentialsNode from "../security/CredentialsNode.ts"
import type { Given, GivenCredentials } from "../security/CredentialsNode.ts"

interface ReadFile {
  readonly fact: KeyFileFact
  readonly content: string
}

const reasons: Readonly<Record<string, string>> = {
  ENOENT: "there is no such file",
  EACCES: "this user may not read it",
  EISDIR: "it is a directory"
}

const readFile = ({ text: file, where }: Given, isPrivate: boolean): ReadFile => {
  const read = Result.try({
    try: () => ({ content: fs.readFileSync(file, "utf8"), mode: fs.statSync(file).mode & 0o777 }),
    catch: (error) => reasons[(error as NodeJS.ErrnoException).code ?? ""] ?? messageOf(error)
  })
  return Result.isSuccess(read)
    ? { content: read.success.content, fact: { where, file, isPrivate, unreadable: "", mode: read.success.mode } }
    : { content: "", fact: { where, file, isPrivate, unreadable: read.failure, mode: 0 } }
}

const certificateIn = (content: string): X509Certificate | undefined =>
  Result.getOrElse(Result.try(() => new X509Certificate(content)), () => undefined)

const factOf = ({ text: file, where }: Given, certificate: X509Certificate): CertificateFact => ({
  where,
  file,
  subject: certificate.subject.replaceAll("\n", ", "),
  notBefore: certificate.validFromDate.getTime(),
  notAfter: certificate.validToDate.getTime()
})

const hasKey = (content: string): boolean => content.includes("PRIVATE KEY-----")

/** What does not fit together, of files that can be read. */
function* mismatchesOf(
  { cafile, certfile, keyfile }: GivenCredentials,
  contents: { readonly cert: string; readonly key: string; readonly ca: string }
): Generator<{ readonly message: string; readonly fix: string }> {
  if (certfile === undefined) {
    const alone = keyfile ?? cafile
    if (alone === undefined) return
    return yield {
      message: `${alone.where} is given without a certificate`,
      fix: "name the certificate as well, with --certfile"
    }
  }
  const keyGiven = keyfile ?? certfile
  const certificate = certificateIn(contents.cert)
  if (contents.cert !== "" && certificate === undefined) {
    yield {
      message: `${certfile.where} ${certfile.text} has no certificate in PEM form`,
      fix: "name a file with -----BEGIN CERTIFICATE-----, which `dispy keys init --ca` makes"
    }
  }
  if (contents.key !== "" && !hasKey(contents.key)) {
    yield {
      message: `${keyGiven.where} ${keyGiven.text} has no private key in PEM form`,
      fix: "name the file that has it with --keyfile"
    }
  } else if (certificate !== undefined && contents.key !== "") {
    const key = Result.try({ try: () => createPrivateKey(contents.key), catch: messageOf })
    if (Result.isFailure(key)) {
      yield {
        message: `the key in ${keyGiven.where} ${keyGiven.text} cannot be used: ${key.failure}`,
        fix: "use a key without a password, which `dispy keys init --ca` makes"
      }
    } else if (!certificate.checkPrivateKey(key.success)) {
      yield {
        message: `the key in ${keyGiven.where} ${keyGiven.text} is not that of the certificate in ${certfile.text}`,
        fix: "name the two files that were made together"
      }
    }
  }
  if (cafile === undefined || contents.ca === "") return
  const authority = certificateIn(contents.ca)
  if (authority === undefined) {
    yield {
      message: `${cafile.where} ${cafile.text} has no certificate in PEM form`,
      fix: "name the file ca.pem that `dispy keys init --ca` made"
    }
  } else if (
    certificate !== undefined && !(certificate.checkIssued(authority) && certificate.verify(authority.publicKey))
  ) {
    yield {
      message: `the certificate in ${certfile.text} was not signed by the authority in ${cafile.text}`,
      fix: "use the ca.pem beside which the certificate was made"
    }
  }
}

const kindOf = ({ certfile, secret, secretFile }: GivenCredentials): CredentialFacts["kind"] => {
  const hasSecret = secret !== undefined || secretFile !== undefined
  if (certfile !== undefined) return hasSecret ? "both" : "certificate"
  return hasSecret ? "secret" : "none"
}

/** Looks at them. */
export const check = (given: GivenCredentials): Effect.Effect<CredentialFacts> =>
  Effect.sync(() => {
    const { cafile, certfile, keyfile, secret, secretFile } = given
    const readOptional = (one: Given | undefined, isPrivate: boolean): ReadFile | undefined =>
      one === undefined ? undefined : readFile(one, isPrivate)
    // A secret that is given directly counts, and the file is not read.
    const word = readOptional(secret === undefined ? secretFile : undefined, true)
    const cert = readOptional(certfile, keyfile === undefined)
    const key = readOptional(keyfile, true)
    const ca = readOptional(cafile, false)
    const secretText = secret ?? (word === undefined || word.fact.unreadable !== "" || secretFile === undefined
      ? undefined
      : { where: `${secretFile.where} ${secretFile.text}`, text: word.content })
    const certificates = [[certfile, cert], [cafile, ca]] as const
    const read = CredentialsNode.read(given)
    return {
      kind: kindOf(given),
      refusal: Result.isFailure(read) ? read.failure.message : "",
      files: [word, cert, key, ca].flatMap((file) => file === undefined ? [] : [file.fact]),
      secret: secretText === undefined
        ? undefined
        : { where: secretText.where, characters: Array.from(secretText.text.trim()).length },
      certificates: certificates.flatMap(([one, file]) => {
        const certificate = one === undefined ? undefined : certificateIn(file?.content ?? "")
        return one === undefined || certificate === undefined ? [] : [factOf(one, certificate)]
      }),
      mismatches: [...mismatchesOf(given, {
        cert: cert?.content ?? "",
        key: (key ?? cert)?.content ?? "",
        ca: ca?.content ?? ""
      })]
    }
  })
