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

const forCertificate = ({ ca, cert, isPinned, key }: Certificate, host: string): tls.ConnectionOptions => ({
  ca,
  cert,
  key,
  minVersion: "TLSv1.3",
  ...(isPinned ? { checkServerIdentity: () => undefined } : {}),
  ...(net.isIP(host) === 0 ? { servername: host } : {})
})

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
      socket: tls.connect({
        ...options,
        ...(credentials._tag === "Secret" ? forSecret(credentials, isBulk) : forCertificate(credentials, options.host))
      } as tls.ConnectionOptions),
      ready: "secureConnect"
    }

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
