/** The keys of a secret, as programs make them. */
import { Result } from "effect"
import type { Secret } from "../../src/domain/security/Credentials.ts"
import * as CredentialsNode from "../../src/layers/security/CredentialsNode.ts"

/** The keys of this text. */
export const derived = (text: string): Secret => {
  const given = CredentialsNode.given({ secret: { where: "a test", text } }, {}, [])
  const read = Result.getOrThrow(CredentialsNode.read(given))
  if (read._tag !== "Secret") throw new Error("no secret")
  return read
}
