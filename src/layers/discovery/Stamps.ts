/** What makes datagrams the only ones of their kind, and what signs them. */
import { Clock, Effect } from "effect"
import { createHmac, randomBytes } from "node:crypto"
import type { Mac, Stamp } from "../../domain/discovery/Datagram.ts"

/** HMAC-SHA-256 with the key of a secret; undefined without one. */
export const macOf = (key: Uint8Array | undefined): Mac | undefined =>
  key === undefined ? undefined : (bytes) => createHmac("sha256", key).update(bytes).digest()

/** A new one. */
export const next: Effect.Effect<Stamp> = Effect.map(Clock.currentTimeMillis, (now) => ({
  nonce: randomBytes(16).toString("hex"),
  sentAtMillis: Math.floor(now)
}))
