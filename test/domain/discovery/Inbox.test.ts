import { Result } from "effect"
import { createHmac } from "node:crypto"
import { describe, expect, it } from "vitest"
import * as Datagram from "../../../src/domain/discovery/Datagram.ts"
import * as Inbox from "../../../src/domain/discovery/Inbox.ts"

const mac: Datagram.Mac = (bytes) => createHmac("sha256", "key").update(bytes).digest()
const now = 1e12
const minute = 60_000
let count = 0

const nonceOf = () => (++count).toString(16).padStart(32, "0")

const sent = (at: number, message: Datagram.Message, isSigned = true) =>
  Datagram.encode(message, { nonce: nonceOf(), sentAtMillis: at }, isSigned ? mac : undefined)

const ping: Datagram.Message = { _tag: "Ping", answerAt: [] }

describe("the inbox", () => {
  it("drops what is old when it is signed, and what is a duplicate in any case", () => {
    const inbox = Inbox.make(mac)
    const fresh = sent(now - 4 * minute, ping)
    expect(Result.isSuccess(Inbox.take(inbox, fresh, "a", now))).toBe(true)
    expect(Inbox.take(inbox, fresh, "a", now)).toEqual(Result.fail("replayed"))
    expect(Inbox.take(inbox, sent(now - 6 * minute, ping), "a", now)).toEqual(Result.fail("stale"))
    expect(Inbox.take(inbox, sent(now + 6 * minute, ping), "a", now)).toEqual(Result.fail("stale"))
    const open = Inbox.make(undefined)
    const unsigned = sent(0, ping, false)
    expect(Result.isSuccess(Inbox.take(open, unsigned, "a", now))).toBe(true)
    expect(Inbox.take(open, unsigned, "a", now)).toEqual(Result.fail("replayed"))
  })

  it("takes answers to what was just asked, however wrong the clock of the node is, and tells of that clock", () => {
    const inbox = Inbox.make(mac)
    const asked = nonceOf()
    const node = { name: "a", port: 1, incarnation: "1", addresses: [], version: "1" }
    const answer = (inReplyTo: string) => sent(now - 3600 * 1000, { _tag: "Answer", inReplyTo, node })
    const take = (inReplyTo: string) =>
      Inbox.take(inbox, answer(inReplyTo), "10.0.0.7", now, (nonce) => nonce === asked)
    expect(Result.isSuccess(take(asked))).toBe(true)
    expect(take(nonceOf())).toEqual(Result.fail("stale"))
    expect(Inbox.describe(inbox)).toEqual([
      expect.stringContaining("1 datagram more than five minutes old: set the clocks"),
      "the clock of 10.0.0.7 is 3600 s behind this one"
    ])
    Inbox.take(inbox, sent(now, ping), "10.0.0.7", now)
    expect(Inbox.describe(inbox)).toHaveLength(1)
  })

  it("says why nothing that others send is heeded, and nothing of junk", () => {
    const inbox = Inbox.make(mac)
    for (let i = 0; i < 3; i++) Inbox.take(inbox, sent(now, ping, false), `10.0.0.${i}`, now)
    Inbox.take(inbox, new Uint8Array(100), "10.0.0.9", now)
    expect(Inbox.describe(inbox)).toEqual([
      "3 datagrams without a signature, though there is a secret here: give everybody the same secret" +
      " (the last from 10.0.0.2)"
    ])
  })
})
