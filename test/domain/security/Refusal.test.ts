/** Sentences for those who are not let in, and what strangers may put into them. */
import * as fc from "fast-check"
import { describe, expect, it } from "vitest"
import * as Refusal from "../../../src/domain/security/Refusal.ts"

describe("a refusal", () => {
  it("arrives as the sentence that was sent", () => {
    for (const kind of ["Secret", "Certificate"] as const) {
      const sentence = Refusal.needsCredentials({ _tag: kind } as Parameters<typeof Refusal.needsCredentials>[0])
      expect(Refusal.decode(Refusal.encode(sentence))).toBe(sentence)
    }
  })

  it("is told from messages and bulk connections by its first byte", () => {
    expect(Refusal.decode(Uint8Array.of(0, 1, 2))).toBeUndefined()
    expect(Refusal.decode(new Uint8Array(0))).toBeUndefined()
    expect(Refusal.decode(Refusal.noTls)).toMatch(/^it speaks TLS/)
  })

  it("puts nothing on a terminal but printable ASCII, and little of it, whoever sends it", () => {
    fc.assert(fc.property(fc.uint8Array({ maxLength: 2000 }), (bytes) => {
      const sentence = Refusal.decode(Uint8Array.of(Refusal.refusalByte, ...bytes))
      expect(sentence).toMatch(/^[ -~]{0,500}$/)
    }))
  })
})

describe("what a TLS library reports", () => {
  it.each([
    ["ERR_SSL_TLSV1_ALERT_INSUFFICIENT_SECURITY", /neither a secret nor a certificate/],
    ["ERR_SSL_SSL/TLS_ALERT_BAD_RECORD_MAC", /the secrets differ/],
    ["ERR_SSL_SSLV3_ALERT_BAD_RECORD_MAC", /the secrets differ/],
    ["ERR_SSL_SSL/TLS_ALERT_HANDSHAKE_FAILURE", /one side has a secret, the other a certificate/],
    ["ERR_SSL_TLSV13_ALERT_CERTIFICATE_REQUIRED", /give this client certfile/],
    ["ERR_SSL_SSLV3_ALERT_CERTIFICATE_EXPIRED", /this client's certificate has expired/],
    ["CERT_HAS_EXPIRED", /its certificate has expired/],
    ["DEPTH_ZERO_SELF_SIGNED_CERT", /check cafile/],
    ["ERR_TLS_CERT_ALTNAME_INVALID", /its certificate is for another host/],
    ["ERR_SSL_WRONG_VERSION_NUMBER", /is it dispynode/]
  ])("means something to the client: %s", (code, sentence) => {
    expect(Refusal.explainToClient({ code, message: "library" })).toMatch(sentence)
  })

  it("that is no matter of credentials is left to others", () => {
    expect(Refusal.explainToClient({ code: "ECONNREFUSED", message: "" })).toBeUndefined()
    expect(Refusal.explainToClient({ message: "" })).toBeUndefined()
  })

  it("means something to the node, whatever it is", () => {
    const node = (code: string) => Refusal.explainToNode({ code, message: "" })
    expect(node("ERR_SSL_DECRYPTION_FAILED_OR_BAD_RECORD_MAC")).toBe(
      "it has another secret: give both sides the same one"
    )
    expect(node("ERR_SSL_NO_SHARED_CIPHER")).toMatch(/it has a secret where this node has a certificate/)
    expect(node("ECONNRESET")).toBe("its TLS handshake failed")
    expect(Refusal.unauthorized("CERT_HAS_EXPIRED")).toMatch(/has expired/)
    expect(Refusal.unauthorized("DEPTH_ZERO_SELF_SIGNED_CERT")).toMatch(/check the node's --cafile/)
  })
})
