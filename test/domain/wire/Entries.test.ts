import * as fc from "fast-check"
import { expect, it } from "vitest"
import * as Entries from "../../../src/domain/wire/Entries.ts"

const bytes = fc.uint8Array({ maxLength: 20 })

const aReply: fc.Arbitrary<Entries.ReplyFields> = fc.record({
  jobId: fc.nat(0xFFFF_FFFF),
  attempt: fc.nat(0xFFFF),
  outcome: fc.constantFrom(...Object.values(Entries.Outcome)),
  flags: fc.nat(0xFF),
  startMillis: fc.nat(),
  durationMicros: fc.nat(),
  result: bytes,
  stdout: bytes,
  stderr: bytes
})

it("reads replies as they were written, one after the other", () => {
  fc.assert(fc.property(fc.array(aReply, { maxLength: 10 }), (replies) => {
    const batch = Entries.encodeReplies(replies)
    const view = Entries.viewOf(batch)
    const read: Array<Entries.ReplyFields> = []
    for (let offset = 0; offset < batch.length; offset += Entries.entrySize(view, offset)) {
      read.push(Entries.readReply(batch, view, offset))
    }
    expect(read).toEqual(replies)
    expect(Entries.countReplies(batch)).toBe(replies.length)
  }))
})

it("tells how many jobs end with a batch, and what they took: provisional results end none", () => {
  fc.assert(fc.property(fc.array(aReply, { maxLength: 10 }), (replies) => {
    const ended = replies.filter(({ outcome }) => outcome !== Entries.Outcome.provisional)
    expect(Entries.tallyEnded(Entries.encodeReplies(replies))).toEqual({
      jobs: ended.length,
      micros: ended.reduce((sum, { durationMicros }) => sum + durationMicros, 0)
    })
  }))
})
