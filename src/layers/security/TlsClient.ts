/** The client's end of connections: in clear, or in TLS with a pre-shared key or certificates. */
import * as net from "node:net"
import * as tls from "node:tls"
import type { Certificate, Credentials, Secret } from "../../domain/security/Credentials.ts"
import * as Refusal from "../../domain/security/Refusal.ts"
import * as SecretCiphers from "./SecretCiphers.ts"

/** Who all programs with the secret are, in TLS. */
export const identity = "dispy"

/** TLS for a secret. */
export const secretOptions = { ciphers: SecretCiphers.control, minVersion: "TLSv1.2", maxVersion: "TLSv1.2" } as const

const forSecret = ({ tlsKey }: Secret, isBulk: boolean): tls.ConnectionOptions => ({
  ...secretOptions,
  ...(isBulk ? { ciphers: SecretCiphers.bulk(), minDHSize: SecretCiphers.leastBits } : {}),
  pskCallback: () => ({ psk: tlsKey, identity }),
  // There is no certificate whose name could be checked.
  checkServerIdentity: () => undefined
})

/** Whether the certificate is for one of the hosts; what is wrong when it is for none. */
const checkIdentity =
  (hosts: ReadonlyArray<string>): tls.ConnectionOptions["checkServerIdentity"] => (name, certificate) => {
    const problems = (hosts.length === 0 ? [name] : hosts).map((host) => tls.checkServerIdentity(host, certificate))
    return problems.includes(undefined) ? undefined : problems[0]
  }

const forCertificate = (
  { ca, cert, isPinned, key }: Certificate,
  hosts: ReadonlyArray<string>
): tls.ConnectionOptions => ({
  ca,
  cert,
  key,
  minVersion: "TLSv1.3",
  checkServerIdentity: isPinned ? () => undefined : checkIdentity(hosts),
  ...(hosts[0] !== undefined && net.isIP(hosts[0]) === 0 ? { servername: hosts[0] } : {})
})

/** How the client secures a connection to a node whose certificate has to be for one of these hosts. */
const optionsFor = (
  credentials: Secret | Certificate,
  hosts: ReadonlyArray<string>,
  isBulk: boolean
): tls.ConnectionOptions =>
  credentials._tag === "Secret" ? forSecret(credentials, isBulk) : forCertificate(credentials, hosts)

/** Where to connect to, and how. */
export interface Dialled extends net.TcpNetConnectOpts {
  readonly host: string
}

/** A connection in the making, and the event with which it is made. */
export interface Dialling {
  readonly socket: net.Socket
  readonly ready: "connect" | "secureConnect"
}

/** Connects; with `isBulk` for a lot of data. */
export const dial = (credentials: Credentials, options: Dialled, isBulk = false): Dialling =>
  credentials._tag === "None"
    ? { socket: net.connect(options), ready: "connect" }
    : {
      socket: tls.connect({ ...options, ...optionsFor(credentials, [options.host], isBulk) } as tls.ConnectionOptions),
      ready: "secureConnect"
    }

/** Secures a connection that is there already, to a node whose certificate has to be for one of these hosts. */
export const over = (
  credentials: Secret | Certificate,
  socket: net.Socket,
  hosts: ReadonlyArray<string>,
  isBulk: boolean
): Dialling => ({ socket: tls.connect({ socket, ...optionsFor(credentials, hosts, isBulk) }), ready: "secureConnect" })

/**
 * Has `onRefusal` hear the sentence with which a node refuses this client, if the first thing that comes is one. To be
 * called before anybody else reads.
 */
export const hearRefusal = (socket: net.Socket, onRefusal: (sentence: string) => void): void => {
  socket.once("readable", () => {
    const chunk = socket.read() as Buffer | null
    if (chunk === null) return
    const sentence = Refusal.decode(chunk)
    if (sentence !== undefined) onRefusal(sentence)
    socket.unshift(chunk)
  })
}
