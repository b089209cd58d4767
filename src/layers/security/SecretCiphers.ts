/**
 * How connections with a secret are encrypted. Every cipher here has the pre-shared key prove who is there, and an
 * exchange for keys that are of this connection alone (forward secrecy); all are of TLS 1.2, since Node's TLS 1.3 takes
 * no external keys.
 *
 * ```
 * control  ChaCha20 after an exchange over a curve: begins fast, and needs no support by the processor
 * bulk     AES where both ends are faster with it; with a pre-shared key that takes an exchange over finite fields,
 *          which costs some milliseconds per connection
 * ```
 */
import { createCipheriv } from "node:crypto"

const chaCha = "ECDHE-PSK-CHACHA20-POLY1305"
const aes = "DHE-PSK-AES128-GCM-SHA256"

/** Bits of the finite field at least; the level is that of TLS libraries for 2,048. */
export const leastBits = 2048
const level = "@SECLEVEL=2"

const sampleBytes = 64 * 1024
const samples = 5

/** Milliseconds for some data, the best of some times: others may want the processor meanwhile. */
const millisOf = (encrypt: () => unknown): number => {
  const once = (): number => {
    const start = performance.now()
    encrypt()
    return performance.now() - start
  }
  return Math.min(...Array.from({ length: samples }, once))
}

const isAesFaster = (): boolean => {
  const sample = Buffer.alloc(sampleBytes)
  const [key, nonce] = [Buffer.alloc(32), Buffer.alloc(12)]
  const withAes = (): unknown => createCipheriv("aes-128-gcm", key.subarray(0, 16), nonce).update(sample)
  const withChaCha = (): unknown =>
    createCipheriv("chacha20-poly1305", key, nonce, { authTagLength: 16 }).update(sample)
  return millisOf(withAes) < millisOf(withChaCha)
}

let measured: string | undefined

/** The ciphers of control connections. */
export const control = chaCha

/** Those of bulk connections and of nodes, the best first: one that is slow on either side is not had. */
export const bulk = (): string => (measured ??= isAesFaster() ? `${aes}:${chaCha}:${level}` : chaCha)
