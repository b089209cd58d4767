/**
 * The frames between a node and one of its slots, over two pipes: a slot reads
 * on descriptor 3 and writes on descriptor 4. A frame is `u32 size | u8 type |
 * payload`, little-endian, `size` counting the whole frame.
 *
 * ```
 * node                                   slot
 *   Prepare (JSON PrepareSlot)  ───────▶  loads the computation
 *                               ◀───────  SettingUp (text): it begins `setup` (a host of threads) or `setupSlot`
 *                               ◀───────  Ready | Refused (encoded error)
 *   Jobs (job entries)          ───────▶  claims and runs one after another
 *                               ◀───────  Listening (u32 jobId): the job asked for `dispy.signal`
 *                               ◀───────  Output: what the job printed since the last one
 *                               ◀───────  Provisional: a result that the job sent ahead of its end
 *                               ◀───────  SendFile (JSON SendFileRequest)
 *   FileSent (JSON FileSent)    ───────▶  settles the job's `dispy.sendFile`
 *                               ◀───────  Reply (one reply entry), before the next job starts
 *   Abort (u32 jobId)           ───────▶  fires `dispy.signal` of that job if it runs
 *   Revoke (u32 count)          ───────▶  forgets the last `count` jobs it was sent and has not claimed
 *                               ◀───────  Revoked: it did; until then the node sends no more jobs
 *
 * node                                   host of threads, after Prepare and Ready
 *   StartThread (JSON)          ───────▶  starts a thread, which is a slot with two FIFOs of its own for frames
 *   StopThread (u32 slot)       ───────▶  ends it wherever its JavaScript is
 *                               ◀───────  ThreadEnded (JSON): all that it wrote is in its FIFO
 *   CleanUp (JSON LifecycleRun) ───────▶  ends all threads, and runs `cleanup` with what `setup` left
 *                               ◀───────  CleanedUp (text)
 * ```
 * Every job sent ahead of time is *claimed* by the slot before it starts (one
 * byte read from the slot's claims FIFO, one byte per job, written by the node).
 * The node takes jobs back by reading the FIFO itself: the kernel serialises the
 * reads, so a job is started or taken back, never both.
 *
 * A slot that runs several jobs at a time claims them in the order in which they
 * came, and replies in any order.
 *
 * What a job prints in JavaScript goes to the node in output frames before its
 * reply; the slot's replies carry none. Native code and children
 * write to the slot's own descriptors 1 and 2; a job that may have done so replies
 * with `replyMarked` after writing `outputMarker` to both, so that the node knows
 * which bytes of them belong to the job. Where several jobs run in one process nobody
 * knows that, and there are no marks.
 */

/** Descriptor on which a slot reads frames. */
export const slotInput = 3

/** Descriptor on which a slot writes frames. */
export const slotOutput = 4

/** Bytes before a frame's payload. */
export const frameHeaderBytes = 5

/** Frame types from the node to the slot. */
export const ToSlot = {
  prepare: 1,
  jobs: 2,
  abort: 3,
  revoke: 4,
  fileSent: 5,
  startThread: 6,
  stopThread: 7,
  cleanUp: 8
} as const

/** Frame types from the slot to the node. */
export const FromSlot = {
  /** u32: the limit of its heap in MB. */
  ready: 1,
  refused: 2,
  reply: 3,
  replyMarked: 4,
  listening: 5,
  output: 6,
  revoked: 7,
  /** One reply entry with the outcome `provisional`, at any time while its job runs. */
  provisional: 8,
  sendFile: 9,
  threadEnded: 10,
  /** Why `cleanup` failed, as text; empty when it did not. */
  cleanedUp: 11,
  /** Its code is loaded, and this of what is around the jobs runs now, as text: a `SetupStep`. */
  settingUp: 12
} as const

/** What a slot may run before it is ready, once its code is loaded. */
export type SetupStep = "setup" | "setupSlot"

/** A file that a job sends to its client, as JSON. */
export interface SendFileRequest {
  /** Number within the slot. */
  readonly fileId: number
  readonly jobId: number
  /** Absolute. */
  readonly file: string
  /** Relative to the working directory if it is below it, else the base name. */
  readonly path: string
  readonly sizeBytes: number
  readonly mode: number
  readonly modifiedMillis: number
}

/** What became of it, as JSON. */
export interface FileSent {
  readonly fileId: number
  /** Empty when the client has it. */
  readonly problem: string
}

/**
 * What precedes the text of an output frame: `u8 descriptor | f64 cut | u32 headBytes | u32 jobId`. `cut` bytes are
 * missing behind the first `headBytes` of the text.
 */
export const outputHeaderBytes = 17

/** Ends a job's part of descriptors 1 and 2; `nonce` is the slot's own. */
export const outputMarker = (nonce: string, jobId: number): string => `\0dispy:${nonce}:${jobId}\0`

/** Code in files. Paths are absolute. */
export interface SlotCode {
  readonly kind: "function" | "module" | "program"
  readonly name: string
  /** File with the code: an expression (function), an ES module (module) or the program itself. */
  readonly codePath: string
  /** Export to call (module only). */
  readonly exportName: string
  /** File with the encoded captures object (function only). */
  readonly capturesPath: string
  /** Interpreter for a program that is not executable by itself; empty for none. */
  readonly runner: string
}

/** What is around the code of a computation, in files. Paths are absolute, empty ones stand for nothing. */
export interface SlotSurroundings {
  /** Working directory of the jobs. */
  readonly directory: string
  /** Functions, classes and modules that it takes along, as JSON. */
  readonly dependsPath: string
  /** File with an encoded object of values that become globals; empty for none. */
  readonly globalsPath: string
  /** What `setup` left, encoded. */
  readonly statePath: string
  readonly nodeName: string
  readonly ipAddr: string
}

/** What a process is told that runs `setup` or `cleanup`, as JSON in a file. */
export interface LifecycleRun extends SlotSurroundings {
  readonly role: "setup" | "cleanup"
  /** How long it may take. */
  readonly timeoutMillis: number
  readonly code: SlotCode
  /** Its encoded arguments. */
  readonly argsPath: string
}

/** What a slot is told before its first job, as JSON. */
export interface PrepareSlot extends SlotCode, SlotSurroundings {
  /** With "thread" the process is a host; its threads are told the same. */
  readonly executor: "process" | "thread"
  /** Jobs at a time. */
  readonly concurrency: number
  /** Runs in a host before its first thread; null where it ran elsewhere, or there is none. */
  readonly hostSetup: LifecycleRun | null
  /** Runs in the slot before its first job. */
  readonly setupSlot: SlotCode | null
  /** Its encoded arguments; empty for none. */
  readonly setupArgsPath: string
  /** FIFO from which the slot claims jobs; empty when no job is sent ahead of time and none needs to be claimed. */
  readonly claimsPath: string
  /** Secret of this slot, for `outputMarker`. */
  readonly nonce: string
  /** How long a job that is to end may take. */
  readonly graceMillis: number
  /** Bytes of stdout, and of stderr, kept per job. */
  readonly outputLimitBytes: number
  /** Directory of large arguments and results; empty for none: everything is in the entries then. */
  readonly valuesDirectory: string
  /** Largest encoded result in bytes; a larger one fails the job. */
  readonly resultLimitBytes: number
}

/** What a host is told of a thread that it is to start, as JSON. */
export interface StartThread {
  readonly slot: number
  readonly told: PrepareSlot
  /** FIFOs for frames. */
  readonly inputPath: string
  readonly outputPath: string
  /** Variables beside those of the host. */
  readonly environment: Readonly<Record<string, string>>
}

/** What a host says of a thread that is gone, as JSON. */
export interface ThreadEnded {
  readonly slot: number
  readonly exitCode: number
  readonly reason: string
}

/** A frame with this payload. */
export const encodeFrame = (type: number, payload: Uint8Array): Uint8Array => {
  const bytes = new Uint8Array(frameHeaderBytes + payload.length)
  writeFrameHeader(bytes, type)
  bytes.set(payload, frameHeaderBytes)
  return bytes
}

/** Writes the header of the frame that fills `bytes`. */
export const writeFrameHeader = (bytes: Uint8Array, type: number): void => {
  new DataView(bytes.buffer, bytes.byteOffset, frameHeaderBytes).setUint32(0, bytes.length, true)
  bytes[4] = type
}

/** Cuts a byte stream into frames. */
export interface FrameReader {
  /**
   * Takes the next bytes of the stream and calls `onFrame` for every frame that
   * is complete with them; payloads are views that stay valid. Returns false when
   * the stream cannot be frames (a size below the header or above the limit):
   * the peer is broken and nothing more may be fed.
   */
  readonly feed: (chunk: Uint8Array) => boolean
}

/** A reader that refuses frames of more than `maxFrameBytes`. */
export const makeFrameReader = (
  maxFrameBytes: number,
  onFrame: (type: number, payload: Uint8Array) => void
): FrameReader => {
  let partial: Uint8Array = new Uint8Array(0)
  let filled = 0
  const read = (bytes: Uint8Array): number => {
    const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
    let offset = 0
    while (bytes.length - offset >= frameHeaderBytes) {
      const size = view.getUint32(offset, true)
      if (size < frameHeaderBytes || size > maxFrameBytes) return -1
      if (size > bytes.length - offset) break
      onFrame(bytes[offset + 4]!, bytes.subarray(offset + frameHeaderBytes, offset + size))
      offset += size
    }
    return offset
  }
  const keep = (rest: Uint8Array): void => {
    // The next frame's size is known once its header is there: room for the whole frame is made at once.
    const wanted = rest.length >= frameHeaderBytes
      ? new DataView(rest.buffer, rest.byteOffset, rest.byteLength).getUint32(0, true)
      : frameHeaderBytes
    partial = new Uint8Array(wanted)
    partial.set(rest)
    filled = rest.length
  }
  const feed = (chunk: Uint8Array): boolean => {
    let rest = chunk
    while (filled > 0 && rest.length > 0) {
      const taken = Math.min(partial.length - filled, rest.length)
      partial.set(rest.subarray(0, taken), filled)
      filled += taken
      rest = rest.subarray(taken)
      if (filled < partial.length) return true
      const whole = partial
      filled = 0
      const used = read(whole)
      if (used < 0) return false
      if (used === 0) keep(whole)
    }
    if (rest.length === 0) return true
    const used = read(rest)
    if (used < 0) return false
    if (used < rest.length) keep(rest.subarray(used))
    return true
  }
  return { feed }
}
