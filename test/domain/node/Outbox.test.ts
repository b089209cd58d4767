/** What a node tells its client: everything, in order, in messages of bounded size, again when it was not acknowledged. */
import * as fc from "fast-check"
import { describe, expect, it } from "vitest"
import * as Outbox from "../../../src/domain/node/Outbox.ts"
import type { NodeEvent } from "../../../src/domain/NodeRpcs.ts"
import { countReplies, encodeReply, entryJobId, entrySize, noBytes, viewOf } from "../../../src/domain/wire/Entries.ts"

const reply = (jobId: number, size = 0): Uint8Array =>
  encodeReply({
    jobId,
    attempt: 1,
    outcome: 0,
    flags: 0,
    startMillis: 0,
    durationMicros: 0,
    result: new Uint8Array(size),
    stdout: noBytes,
    stderr: noBytes
  })

const jobIds = (batch: Uint8Array): Array<number> => {
  const view = viewOf(batch)
  const ids: Array<number> = []
  for (let offset = 0; offset < batch.length; offset += entrySize(view, offset)) ids.push(entryJobId(view, offset))
  return ids
}

const repliesOf = (events: ReadonlyArray<NodeEvent> | undefined) =>
  (events ?? []).filter((event) => event._tag === "Replies")

const concat = (entries: ReadonlyArray<Uint8Array>): Uint8Array => new Uint8Array(Buffer.concat(entries))

describe("Outbox", () => {
  it("joins the replies of a computation into one batch", () => {
    const outbox = Outbox.make()
    for (const id of [1, 2, 3]) Outbox.push(outbox, "a", reply(id))
    Outbox.push(outbox, "b", reply(7))
    const replies = repliesOf(Outbox.take(outbox))
    expect(replies.map((event) => [event.computationId, event.sequence, jobIds(event.batch)])).toEqual([
      ["a", 1, [1, 2, 3]],
      ["b", 2, [7]]
    ])
    expect(Outbox.take(outbox)).toBeUndefined()
  })

  it("tells only the latest news of the node, the end first", () => {
    const outbox = Outbox.make()
    const availInfo = { cpu: 1, memory: 2, disk: 3, swap: 4 }
    Outbox.push(outbox, "a", reply(1))
    outbox.availInfo = { ...availInfo, cpu: 99 }
    outbox.availInfo = availInfo
    outbox.cpus = 3
    outbox.leaving = "the node is ending"
    expect(Outbox.take(outbox)?.map((event) => event._tag)).toEqual(["Leaving", "CpusChanged", "Pulse", "Replies"])
    expect(Outbox.take(outbox)).toBeUndefined()
  })

  it("keeps messages below the limit and lets a larger reply travel alone", () => {
    const outbox = Outbox.make()
    const big = Outbox.messageBytes + 10
    Outbox.push(outbox, "a", concat([reply(1), reply(2, big), reply(3, Outbox.messageBytes / 2), reply(4), reply(5)]))
    Outbox.push(outbox, "a", reply(6, Outbox.messageBytes / 2))
    const taken: Array<Array<number>> = []
    for (let events = Outbox.take(outbox); events !== undefined; events = Outbox.take(outbox)) {
      const replies = repliesOf(events)
      expect(replies.reduce((sum, event) => sum + event.batch.length, 0)).toBeLessThanOrEqual(big + 36)
      taken.push(replies.flatMap((event) => jobIds(event.batch)))
    }
    expect(taken).toEqual([[1], [2], [3, 4, 5], [6]])
  })

  it("does not keep alive the large buffer that a small reply was read into", () => {
    const outbox = Outbox.make()
    const large = new Uint8Array(65_536)
    const small = reply(1)
    large.set(small)
    Outbox.push(outbox, "a", large.subarray(0, small.length))
    expect(repliesOf(Outbox.take(outbox))[0]?.batch.buffer.byteLength).toBe(small.length)
  })

  it("tells news of the node and files of jobs again to a client that listens anew, files until they are answered", () => {
    const outbox = Outbox.make()
    const file = (fileId: number) => ({
      _tag: "JobFile" as const,
      computationId: "a",
      fileId,
      jobId: 1,
      path: `${fileId}`,
      sizeBytes: 1,
      mode: 0o600,
      modifiedMillis: 0
    })
    outbox.cpus = 3
    outbox.leaving = "the node is ending"
    outbox.jobFiles.push(file(1), file(2))
    Outbox.take(outbox)
    Outbox.answerFile(outbox, "a", 1)
    outbox.jobFiles.push(file(3))
    outbox.cpus = 4
    Outbox.rewind(outbox, 0)
    expect(Outbox.take(outbox)).toEqual([
      { _tag: "Leaving", reason: "the node is ending" },
      { _tag: "CpusChanged", cpus: 4 },
      file(2),
      file(3)
    ])
    Outbox.drop(outbox, "a")
    Outbox.rewind(outbox, 0)
    expect(Outbox.take(outbox)?.map((event) => event._tag)).toEqual(["Leaving", "CpusChanged"])
  })

  it("forgets a closed computation, sent or not", () => {
    const outbox = Outbox.make()
    Outbox.push(outbox, "a", reply(1))
    Outbox.take(outbox)
    Outbox.push(outbox, "a", reply(2))
    Outbox.push(outbox, "b", reply(3))
    Outbox.rewind(outbox, 0)
    Outbox.drop(outbox, "a")
    expect(repliesOf(Outbox.take(outbox)).map((event) => event.computationId)).toEqual(["b"])
    expect(Outbox.isDelivered(outbox)).toBe(true)
  })

  it("brings every reply exactly once and in order to a client that loses connections and acknowledges late", () => {
    const step = fc.oneof(
      { weight: 5, arbitrary: fc.record({ _tag: fc.constant("push" as const), to: fc.constantFrom("a", "b") }) },
      { weight: 3, arbitrary: fc.record({ _tag: fc.constant("take" as const), isLost: fc.boolean() }) },
      { weight: 1, arbitrary: fc.record({ _tag: fc.constant("acknowledge" as const) }) },
      { weight: 1, arbitrary: fc.record({ _tag: fc.constant("reconnect" as const) }) }
    )
    fc.assert(fc.property(fc.array(step, { maxLength: 120 }), (steps) => {
      const outbox = Outbox.make()
      const received: Record<string, Array<number>> = { a: [], b: [] }
      const pushed: Record<string, Array<number>> = { a: [], b: [] }
      let lastJob = 0
      let lastSequence = 0
      let isBroken = false
      const take = (isLost: boolean) => {
        for (const event of repliesOf(Outbox.take(outbox))) {
          if (isLost) {
            isBroken = true
            continue
          }
          if (event.sequence <= lastSequence) continue
          expect(event.sequence).toBe(lastSequence + 1)
          lastSequence = event.sequence
          expect(countReplies(event.batch)).toBeGreaterThan(0)
          received[event.computationId]!.push(...jobIds(event.batch))
        }
      }
      const reconnect = () => {
        isBroken = false
        Outbox.rewind(outbox, lastSequence)
      }
      for (const { _tag, ...rest } of [...steps, { _tag: "reconnect" as const }]) {
        if (_tag === "push" && "to" in rest) {
          Outbox.push(outbox, rest.to, reply(++lastJob))
          pushed[rest.to]!.push(lastJob)
        } else if (_tag === "take") take(isBroken || ("isLost" in rest && rest.isLost))
        else if (_tag === "acknowledge") Outbox.acknowledge(outbox, lastSequence)
        else reconnect()
      }
      while (!Outbox.isDelivered(outbox)) take(false)
      expect(received).toEqual(pushed)
      Outbox.acknowledge(outbox, lastSequence)
      expect(Outbox.sizeBytes(outbox)).toBe(0)
    }))
  })
})
