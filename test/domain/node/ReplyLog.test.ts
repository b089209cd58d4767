/** Replies are kept until acknowledged, and only until then. */
import * as fc from "fast-check"
import { describe, expect, it } from "vitest"
import * as ReplyLog from "../../../src/domain/node/ReplyLog.ts"

describe("ReplyLog", () => {
  it("numbers from 1 and forgets what is acknowledged", () => {
    const log = ReplyLog.make()
    const batches = [1, 2, 3].map((n) => ReplyLog.append(log, "c", new Uint8Array(n)))
    expect(batches.map((batch) => batch.sequence)).toEqual([1, 2, 3])
    ReplyLog.acknowledge(log, 2)
    expect(ReplyLog.from(log, 0)).toEqual([batches[2]])
    expect(log.bytes).toBe(3)
    ReplyLog.acknowledge(log, 99)
    expect(ReplyLog.from(log, 0)).toEqual([])
    expect(ReplyLog.append(log, "c", new Uint8Array(1)).sequence).toBe(4)
  })

  it("behaves like a list that is filtered, whatever the order of calls", () => {
    const operation = fc.oneof(
      fc.record({ _tag: fc.constant("append" as const), to: fc.constantFrom("a", "b"), size: fc.nat(9) }),
      fc.record({ _tag: fc.constant("acknowledge" as const), sequence: fc.nat(200) }),
      fc.record({ _tag: fc.constant("drop" as const), of: fc.constantFrom("a", "b") })
    )
    fc.assert(fc.property(fc.array(operation, { maxLength: 200 }), fc.nat(200), (operations, from) => {
      const log = ReplyLog.make()
      let model: Array<ReplyLog.LoggedBatch> = []
      for (const step of operations) {
        if (step._tag === "append") model.push(ReplyLog.append(log, step.to, new Uint8Array(step.size)))
        else if (step._tag === "acknowledge") {
          ReplyLog.acknowledge(log, step.sequence)
          model = model.filter((batch) => batch.sequence > step.sequence)
        } else {
          ReplyLog.dropComputation(log, step.of)
          model = model.filter((batch) => batch.computationId !== step.of)
        }
        expect(log.bytes).toBe(model.reduce((sum, batch) => sum + batch.batch.length, 0))
      }
      expect(ReplyLog.from(log, from)).toEqual(model.filter((batch) => batch.sequence >= from))
    }))
  })

  it("holds no acknowledged batches however long it is used", () => {
    const log = ReplyLog.make()
    for (let n = 1; n <= 10_000; n++) {
      ReplyLog.append(log, "c", new Uint8Array(1))
      if (n > 10) ReplyLog.acknowledge(log, n - 10)
    }
    expect(log.batches.length).toBeLessThan(200)
    expect(ReplyLog.from(log, 0).length).toBe(10)
  })
})
