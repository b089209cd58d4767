/**
 * Certificates by `@peculiar/x509` on Node's own cryptography. In a file of its
 * own, which is loaded when a certificate is made: it takes a tenth of a second.
 */
// First: the library needs it to be there.
import "reflect-metadata"
import * as x509 from "@peculiar/x509"
import { createHash, randomBytes, webcrypto } from "node:crypto"
import type { PeerName } from "../../domain/keys/PeerName.ts"

x509.cryptoProvider.set(webcrypto as never)

/** Elliptic curve P-256: small, fast, and known to every TLS there is. */
const keyAlgorithm = { name: "ECDSA", namedCurve: "P-256" }
const signingAlgorithm = { name: "ECDSA", hash: "SHA-256" }

/** An authority that signs, as PEM. */
export interface Authority {
  readonly certificate: string
  readonly key: string
}

/** How long a certificate is valid, in milliseconds since 1970. */
export interface Validity {
  readonly notBefore: number
  readonly notAfter: number
}

const newKeys = (): Promise<webcrypto.CryptoKeyPair> =>
  webcrypto.subtle.generateKey(keyAlgorithm, true, ["sign", "verify"])

const pemOfKey = async (key: webcrypto.CryptoKey): Promise<string> =>
  `${x509.PemConverter.encode(await webcrypto.subtle.exportKey("pkcs8", key), "PRIVATE KEY")}\n`

const pemOf = (certificate: x509.X509Certificate): string => `${certificate.toString("pem")}\n`

/** 127 random bits, positive and never zero (RFC 5280 allows 20 octets). */
const serialNumber = (): string => {
  const bytes = randomBytes(16)
  bytes[0] = (bytes[0]! & 0x7f) | 0x40
  return bytes.toString("hex")
}

const datesOf = ({ notAfter, notBefore }: Validity) => ({
  notBefore: new Date(notBefore),
  notAfter: new Date(notAfter)
})

/** Makes an authority. Its name has a part of its key's hash, so that two of them are told apart. */
export const makeAuthority = async (validity: Validity): Promise<Authority> => {
  const keys = await newKeys()
  const spki = Buffer.from(await webcrypto.subtle.exportKey("spki", keys.publicKey))
  const certificate = await x509.X509CertificateGenerator.createSelfSigned({
    serialNumber: serialNumber(),
    name: [{ CN: [`dispy authority ${createHash("sha256").update(spki).digest("hex").slice(0, 8)}`] }],
    ...datesOf(validity),
    keys: keys as never,
    signingAlgorithm,
    extensions: [
      // It signs peers, and no other authority.
      new x509.BasicConstraintsExtension(true, 0, true),
      new x509.KeyUsagesExtension(x509.KeyUsageFlags.keyCertSign | x509.KeyUsageFlags.cRLSign, true),
      await x509.SubjectKeyIdentifierExtension.create(keys.publicKey)
    ]
  })
  return { certificate: pemOf(certificate), key: await pemOfKey(keys.privateKey) }
}

const signingKeyOf = (pem: string): Promise<webcrypto.CryptoKey> =>
  webcrypto.subtle.importKey("pkcs8", x509.PemConverter.decodeFirst(pem), keyAlgorithm, false, ["sign"])

/**
 * Makes a key and a certificate for a peer, both in one PEM text. A node's is good for servers only and a client's for
 * clients only: whoever takes a node's key cannot send jobs to the others.
 */
export const issue = async (authority: Authority, peer: PeerName, validity: Validity): Promise<string> => {
  const issuer = new x509.X509Certificate(authority.certificate)
  const keys = await newKeys()
  const names = [
    ...peer.hostNames.map((value) => ({ type: "dns" as const, value })),
    ...peer.ipAddresses.map((value) => ({ type: "ip" as const, value }))
  ]
  const purpose = peer.role === "node" ? x509.ExtendedKeyUsage.serverAuth : x509.ExtendedKeyUsage.clientAuth
  const certificate = await x509.X509CertificateGenerator.create({
    serialNumber: serialNumber(),
    subject: [{ CN: [peer.name] }],
    issuer: issuer.subjectName.toJSON(),
    ...datesOf(validity),
    publicKey: keys.publicKey as never,
    signingKey: await signingKeyOf(authority.key) as never,
    signingAlgorithm,
    extensions: [
      new x509.BasicConstraintsExtension(false, undefined, true),
      new x509.KeyUsagesExtension(x509.KeyUsageFlags.digitalSignature, true),
      new x509.ExtendedKeyUsageExtension([purpose]),
      ...(names.length === 0 ? [] : [new x509.SubjectAlternativeNameExtension(names)]),
      await x509.SubjectKeyIdentifierExtension.create(keys.publicKey),
      await x509.AuthorityKeyIdentifierExtension.create(issuer.publicKey)
    ]
  })
  return (await pemOfKey(keys.privateKey)) + pemOf(certificate)
}
