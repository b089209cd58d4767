/**
 * What a slot's jobs printed, put into their replies: the output frames that came
 * before the reply, and what native code and children wrote to the slot's
 * descriptors up to the job's marker.
 */
import type { PrintedOutput } from "../../domain/node/SlotPoolEvent.ts"
import * as BoundedOutput from "../../domain/wire/BoundedOutput.ts"
import * as Entries from "../../domain/wire/Entries.ts"
import * as SlotFrames from "../../domain/wire/SlotFrames.ts"

/** Bytes of stderr kept to explain a slot's end. */
const lastBytes = 4096

/** Bytes on a descriptor up to a marker. */
interface Segment {
  readonly jobId: number
  readonly kept: BoundedOutput.KeptOutput
}

/** One of the descriptors 1 and 2. */
interface RawStream {
  carry: Buffer
  readonly current: BoundedOutput.BoundedOutput
  readonly segments: Array<Segment>
  isEnded: boolean
}

/** A reply that waits for its markers, or behind one that does. */
interface HeldReply {
  readonly entry: Uint8Array
  readonly isMarked: boolean
  readonly passed: readonly [BoundedOutput.KeptOutput, BoundedOutput.KeptOutput]
}

/** What a job passed on, to stdout and to stderr. */
type Passed = readonly [BoundedOutput.BoundedOutput, BoundedOutput.BoundedOutput]

/** The output of one slot. */
export interface SlotOutput {
  readonly limitBytes: number
  /** Jobs that run at a time, at most. */
  readonly concurrency: number
  /** Jobs of other slots, or several of this one, write to the same descriptors: what comes there belongs to none. */
  readonly isShared: boolean
  readonly marker: Buffer
  /** By job, of those that run. */
  readonly passed: Map<number, Passed>
  readonly raw: readonly [RawStream, RawStream]
  last: Buffer
  held: Array<HeldReply>
}

const makeRaw = (limitBytes: number): RawStream => ({
  carry: Buffer.alloc(0),
  current: BoundedOutput.make(limitBytes),
  segments: [],
  isEnded: false
})

/** The output of a slot whose jobs may each keep `limitBytes` of stdout, and of stderr. */
export const make = (limitBytes: number, nonce: string, concurrency = 1, isShared = concurrency > 1): SlotOutput => ({
  limitBytes,
  concurrency,
  isShared,
  marker: Buffer.from(`\0dispy:${nonce}:`),
  passed: new Map(),
  raw: [makeRaw(limitBytes), makeRaw(limitBytes)],
  last: Buffer.alloc(0),
  held: []
})

/** Undefined for one job too many: the slot is broken. */
const passedOf = (output: SlotOutput, jobId: number): Passed | undefined => {
  let passed = output.passed.get(jobId)
  if (passed === undefined && output.passed.size < output.concurrency) {
    passed = [BoundedOutput.make(output.limitBytes), BoundedOutput.make(output.limitBytes)]
    output.passed.set(jobId, passed)
  }
  return passed
}

/** Takes in an output frame of a running job; false when it is none. */
export const pass = (output: SlotOutput, payload: Uint8Array): boolean => {
  const view = Entries.viewOf(payload)
  const text = payload.subarray(SlotFrames.outputHeaderBytes)
  if (payload.length < SlotFrames.outputHeaderBytes) return false
  const cut = view.getFloat64(1, true)
  const headBytes = view.getUint32(9, true)
  if (!(cut >= 0) || headBytes > text.length) return false
  const kept = { head: text.subarray(0, headBytes), tail: text.subarray(headBytes), cut }
  const passed = passedOf(output, view.getUint32(13, true))
  if (passed === undefined) return false
  BoundedOutput.append(passed[payload[0] === 2 ? 1 : 0], kept)
  return true
}

/** Takes in what came on descriptor 1 (index 0) or 2 (index 1). */
export const feed = (output: SlotOutput, index: 0 | 1, chunk: Buffer): void => {
  const stream = output.raw[index]
  let rest = stream.carry.length === 0 ? chunk : Buffer.concat([stream.carry, chunk])
  stream.carry = rest.subarray(rest.length)
  for (;;) {
    const at = rest.indexOf(output.marker)
    const end = at < 0 ? -1 : rest.indexOf(0, at + output.marker.length)
    if (at < 0 || end < 0) {
      // The beginning of a marker at the end waits for the rest of it.
      const tail = at >= 0 ? at : rest.indexOf(0, Math.max(0, rest.length - output.marker.length))
      keep(output, index, tail < 0 ? rest : rest.subarray(0, tail))
      if (tail >= 0) stream.carry = rest.subarray(tail)
      return
    }
    keep(output, index, rest.subarray(0, at))
    const jobId = Number(rest.toString("latin1", at + output.marker.length, end))
    stream.segments.push({ jobId, kept: BoundedOutput.take(stream.current) })
    rest = rest.subarray(end + 1)
  }
}

const keep = (output: SlotOutput, index: 0 | 1, bytes: Buffer): void => {
  if (bytes.length === 0) return
  if (!output.isShared) BoundedOutput.write(output.raw[index].current, bytes)
  if (index === 1) output.last = Buffer.from(Buffer.concat([output.last, bytes]).subarray(-lastBytes))
}

/** The descriptor is closed: no marker comes any more. */
export const end = (output: SlotOutput, index: 0 | 1): void => {
  const stream = output.raw[index]
  keep(output, index, stream.carry)
  stream.carry = stream.carry.subarray(stream.carry.length)
  stream.isEnded = true
}

/** Whether a reply can go on as it is. */
export const isPlain = (output: SlotOutput): boolean => output.held.length === 0 && output.passed.size === 0

const nothing: BoundedOutput.KeptOutput = { head: Entries.noBytes, tail: Entries.noBytes, cut: 0 }

/** One descriptor's output of a job: what was passed on, then what came by itself. */
const joined = (
  limitBytes: number,
  passed: BoundedOutput.KeptOutput,
  native: BoundedOutput.KeptOutput
): BoundedOutput.KeptOutput => {
  if (native === nothing) return passed
  const all = BoundedOutput.make(limitBytes)
  BoundedOutput.append(all, passed)
  BoundedOutput.append(all, native)
  return BoundedOutput.take(all)
}

const withOutput = (
  { limitBytes }: SlotOutput,
  { entry, passed }: HeldReply,
  native: readonly [BoundedOutput.KeptOutput, BoundedOutput.KeptOutput]
): Uint8Array => {
  const reply = Entries.readReply(entry, Entries.viewOf(entry), 0)
  const stdout = joined(limitBytes, passed[0], native[0])
  const stderr = joined(limitBytes, passed[1], native[1])
  const flags = reply.flags | (stdout.cut > 0 ? Entries.ReplyFlags.stdoutTruncated : 0) |
    (stderr.cut > 0 ? Entries.ReplyFlags.stderrTruncated : 0)
  return Entries.encodeReply({
    ...reply,
    flags,
    stdout: BoundedOutput.render(stdout),
    stderr: BoundedOutput.render(stderr)
  })
}

/** Takes in a reply that is not plain; `release` gives it back when all its output is there. */
export const hold = (output: SlotOutput, entry: Uint8Array, isMarked: boolean): void => {
  const jobId = Entries.entryJobId(Entries.viewOf(entry), 0)
  const own = output.passed.get(jobId)
  output.passed.delete(jobId)
  const passed = own === undefined
    ? [nothing, nothing] as const
    : [BoundedOutput.take(own[0]), BoundedOutput.take(own[1])] as const
  output.held.push({ entry, isMarked, passed })
}

/** The segment of a job, with those of jobs whose reply did not wait for them dropped; undefined while it may come. */
const segmentOf = (stream: RawStream, jobId: number, isFinal: boolean): BoundedOutput.KeptOutput | undefined => {
  const at = stream.segments.findIndex((segment) => segment.jobId === jobId)
  if (at >= 0) return stream.segments.splice(0, at + 1).at(-1)!.kept
  return stream.isEnded || isFinal ? BoundedOutput.take(stream.current) : undefined
}

/** Replies whose output is complete; with `isFinal` all that are held. */
export const release = (output: SlotOutput, isFinal: boolean): ReadonlyArray<Uint8Array> => {
  const released: Array<Uint8Array> = []
  for (let first = output.held[0]; first !== undefined; first = output.held[0]) {
    if (!first.isMarked) released.push(withOutput(output, first, [nothing, nothing]))
    else {
      const jobId = Entries.entryJobId(Entries.viewOf(first.entry), 0)
      const isThere = output.raw.every((stream) =>
        isFinal || stream.isEnded || stream.segments.some((segment) => segment.jobId === jobId)
      )
      if (!isThere) break
      const stdout = segmentOf(output.raw[0], jobId, isFinal) ?? nothing
      const stderr = segmentOf(output.raw[1], jobId, isFinal) ?? nothing
      released.push(withOutput(output, first, [stdout, stderr]))
    }
    output.held.shift()
  }
  return released
}

/** What the running jobs printed up to now, for a slot that died. */
export const remains = (output: SlotOutput): ReadonlyArray<PrintedOutput> => {
  if (output.isShared) {
    return [...output.passed].map(([jobId, [stdout, stderr]]) => ({
      jobId,
      stdout: BoundedOutput.render(BoundedOutput.take(stdout)),
      stderr: BoundedOutput.render(BoundedOutput.take(stderr))
    }))
  }
  const running = [...output.passed.values()].at(-1)
  const of = (index: 0 | 1): Uint8Array => {
    const passed = running === undefined ? nothing : BoundedOutput.take(running[index])
    const native = BoundedOutput.take(output.raw[index].current)
    return BoundedOutput.render(joined(output.limitBytes, passed, native))
  }
  return [{ jobId: 0, stdout: of(0), stderr: of(1) }]
}
