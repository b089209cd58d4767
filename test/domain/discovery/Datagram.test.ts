import { Result } from "effect"
import * as fc from "fast-check"
import { createHmac } from "node:crypto"
import { describe, expect, it } from "vitest"
import * as Datagram from "../../../src/domain/discovery/Datagram.ts"

const macOf = (key: string): Datagram.Mac => (bytes) => createHmac("sha256", key).update(bytes).digest()
const mac = macOf("a key")

const nonce = fc.uint8Array({ minLength: 16, maxLength: 16 }).map((bytes) => Buffer.from(bytes).toString("hex"))
const host = fc.oneof(
  fc.ipV4(),
  fc.ipV6(),
  fc.stringMatching(/^[a-z0-9.-]{1,100}$/),
  fc.constant("x".repeat(Datagram.maxHostBytes))
)
const port = fc.integer({ min: 1, max: 65_535 })
const node: fc.Arbitrary<Datagram.NodeBeacon> = fc.record({
  name: fc.oneof(fc.string({ unit: "binary" }), fc.constant("ü\ud83d\udc19\"\\".repeat(99))).map(Datagram.shortName),
  port,
  incarnation: fc.oneof(fc.uuid(), fc.constant("i".repeat(64))),
  addresses: fc.array(host, { maxLength: Datagram.maxAddresses }),
  version: fc.constantFrom("0.1.0", "v".repeat(24))
})
const answerAt = fc.array(fc.record({ host, port }), { maxLength: Datagram.maxAddresses })
const answers = fc.integer({ min: 1, max: Datagram.maxAnswers })
const message: fc.Arbitrary<Datagram.Message> = fc.oneof(
  fc.record({ _tag: fc.constant("Ping" as const), answerAt }),
  fc.record({ _tag: fc.constant("Ping" as const), answerAt, answers }),
  fc.record({ _tag: fc.constant("Answer" as const), inReplyTo: nonce, node }),
  fc.record({ _tag: fc.constant("Announcement" as const), node }),
  fc.record({ _tag: fc.constant("Goodbye" as const), incarnation: fc.uuid() }),
  fc.record({ _tag: fc.constant("RelayedPing" as const), inReplyTo: nonce, answerAt, answers }),
  fc.record({ _tag: fc.constant("RelayedNode" as const), inReplyTo: nonce, host, node }),
  fc.constant({ _tag: "Unheeded" as const })
)
const stamp = fc.record({ nonce, sentAtMillis: fc.nat({ max: 2 ** 50 }) })

describe("datagrams", () => {
  it("are read as they were written, signed or not, and are less than 1,000 bytes; no answer is longer than a ping", () => {
    fc.assert(
      fc.property(message, stamp, fc.boolean(), (said, stamped, isSigned) => {
        const key = isSigned ? mac : undefined
        const bytes = Datagram.encode(said, stamped, key)
        expect(bytes.length).toBeLessThanOrEqual(Datagram.maxBytes)
        if (said._tag.endsWith("Ping")) expect(bytes).toHaveLength(Datagram.maxBytes)
        expect(Datagram.decode(bytes, key)).toEqual(Result.succeed({ message: said, ...stamped }))
      })
    )
  })

  it("of the greatest length fit", () => {
    const place = { host: "h".repeat(Datagram.maxHostBytes), port: 65_535 }
    const hosts = Array.from({ length: Datagram.maxAddresses }, () => place)
    const largest = {
      name: Datagram.shortName("\u0001".repeat(100)),
      port: 65_535,
      incarnation: "i".repeat(64),
      addresses: hosts.map((one) => one.host),
      version: "v".repeat(24)
    }
    const inReplyTo = "0".repeat(32)
    const stamped = { nonce: inReplyTo, sentAtMillis: Number.MAX_SAFE_INTEGER }
    for (
      const said of [
        { _tag: "RelayedNode", inReplyTo, host: place.host, node: largest },
        { _tag: "RelayedPing", inReplyTo, answerAt: hosts, answers: Datagram.maxAnswers }
      ] as const
    ) expect(Datagram.encode(said, stamped, mac).length).toBeLessThanOrEqual(Datagram.maxBytes)
  })

  it("are refused when any bit of a signed one is another, or when signed with another key, or when only one side has a key", () => {
    fc.assert(
      fc.property(message, stamp, fc.nat(), fc.integer({ min: 0, max: 7 }), (said, stamped, at, bit) => {
        const bytes = Datagram.encode(said, stamped, mac)
        expect(Datagram.decode(bytes, macOf("other"))).toEqual(Result.fail("signature"))
        expect(Datagram.decode(bytes, undefined)).toEqual(Result.fail("signed"))
        expect(Datagram.decode(Datagram.encode(said, stamped, undefined), mac)).toEqual(Result.fail("unsigned"))
        const changed = bytes.slice()
        changed[at % bytes.length]! ^= 1 << bit
        expect(Result.isFailure(Datagram.decode(changed, mac))).toBe(true)
      })
    )
  })

  it("may be anything up to 64 KiB: junk is refused and nothing is thrown", () => {
    fc.assert(
      fc.property(
        fc.oneof(
          fc.uint8Array({ maxLength: 2000 }),
          fc.tuple(fc.constantFrom(0, 1), fc.json({ maxDepth: 6 })).map(([signed, json]) =>
            Buffer.concat([Buffer.from("dispy"), Buffer.from([1, signed]), Buffer.alloc(32), Buffer.from(json)])
          )
        ),
        (bytes) => {
          expect(Result.isFailure(Datagram.decode(bytes, undefined))).toBe(true)
          expect(Result.isFailure(Datagram.decode(bytes, mac))).toBe(true)
        }
      )
    )
    expect(Datagram.decode(new Uint8Array(65_536).fill(0x5b), undefined)).toEqual(Result.fail("junk"))
    const deep = Buffer.concat([Buffer.from("dispy\u0001\0"), Buffer.alloc(32), Buffer.from("[".repeat(900))])
    expect(Datagram.decode(deep, undefined)).toEqual(Result.fail("junk"))
  })

  it("are answered in rounds, with no more bytes than there is room for", () => {
    const lengths = fc.array(fc.integer({ min: 100, max: 960 }), { maxLength: 4 })
    fc.assert(fc.property(lengths, answers, fc.nat({ max: 2000 }), (all, times, room) => {
      const rounds = Datagram.answersIn(all, times, room)
      const sent = rounds.flat()
      expect(sent.reduce((sum, index) => sum + all[index]!, 0)).toBeLessThanOrEqual(room)
      const wanted = Array.from({ length: times }, () => all.keys().toArray()).flat()
      expect(sent).toEqual(wanted.slice(0, sent.length))
      const missed = wanted[sent.length]
      if (missed === undefined) return
      expect([...sent, missed].reduce((sum, index) => sum + all[index]!, 0)).toBeGreaterThan(room)
    }))
    expect(Datagram.answersIn([300, 200], 3, Infinity)).toEqual([[0, 1], [0, 1], [0, 1]])
  })

  it("of another version are told from junk", () => {
    const bytes = Datagram.encode({ _tag: "Ping", answerAt: [] }, { nonce: "0".repeat(32), sentAtMillis: 1 }, undefined)
    bytes[5] = 2
    expect(Datagram.decode(bytes, undefined)).toEqual(Result.fail("version"))
  })
})
