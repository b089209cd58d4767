import * as fc from "fast-check"
import { describe, expect, it } from "vitest"
import * as Datagram from "../../../src/domain/discovery/Datagram.ts"
import * as Preamble from "../../../src/domain/discovery/Preamble.ts"

const node = { name: "alpha", port: 51348, incarnation: "1", addresses: [], version: "0.1.0" }
const stamp = { nonce: "0".repeat(32), sentAtMillis: 1 }
const datagram = Datagram.encode({ _tag: "Announcement", node }, stamp, undefined)

describe("the first message of a node that dials out", () => {
  it("is read however it is cut, and nothing less or more than it", () => {
    const bytes = Preamble.frame(datagram)
    for (let end = 0; end < bytes.length; end++) {
      expect(Preamble.read(bytes.subarray(0, end))).toEqual({ _tag: "Incomplete" })
    }
    expect(Preamble.read(bytes)).toEqual({ _tag: "Complete", datagram })
    expect(Preamble.read(new Uint8Array([...bytes, 0]))).toEqual({ _tag: "Junk" })
  })

  it("may be as long as a datagram, and no longer", () => {
    const bytes = Preamble.frame(Datagram.encode({ _tag: "Ping", answerAt: [] }, stamp, undefined))
    expect(bytes).toHaveLength(Preamble.maxBytes)
    expect(Preamble.read(bytes)._tag).toBe("Complete")
    const longer = bytes.slice()
    longer[0]! += 1
    expect(Preamble.read(longer.subarray(0, 2))).toEqual({ _tag: "Junk" })
  })

  it.each(["GET / HTTP/1.1\r\n", "SSH-2.0-OpenSSH", "\u0016\u0003\u0001\u0002\u0000\u0001", "\u0000dispy-bulk"])(
    "is not %j, which is known at once",
    (text) => expect(Preamble.read(Buffer.from(text, "latin1"))).toEqual({ _tag: "Junk" })
  )

  it("is found in no other bytes, and they do no harm", () => {
    fc.assert(fc.property(fc.uint8Array({ maxLength: 2000 }), (bytes) => {
      const read = Preamble.read(bytes)
      if (read._tag === "Complete") expect(bytes.length).toBe(2 + read.datagram.length)
      if (bytes.length > Preamble.maxBytes) expect(read).toEqual({ _tag: "Junk" })
    }))
  })
})
