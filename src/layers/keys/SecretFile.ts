/** Makes the secret that clients and nodes share. */
import { Effect } from "effect"
import { randomBytes } from "node:crypto"
import type { KeyFileExists, KeyFileFailed } from "../../domain/keys/KeysError.ts"
import * as KeyFile from "./KeyFile.ts"

/** Bytes of randomness in a secret: 256 bits, which nobody guesses. */
const secretBytes = 32

/** Writes a new secret, one line of text, to a file that only its owner can read. */
export const make = (file: string, force: boolean): Effect.Effect<void, KeyFileExists | KeyFileFailed> =>
  Effect.suspend(() =>
    KeyFile.write(file, `${randomBytes(secretBytes).toString("base64url")}\n`, { mode: KeyFile.privateMode, force })
  )
