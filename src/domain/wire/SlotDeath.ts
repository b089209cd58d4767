/**
 * How a slot process ended under a job: the result of a reply with outcome
 * `slotDied`, as JSON in ASCII. Written by the node, or by the slot itself when
 * it still can.
 */

/** How a slot process ended under a job. */
export interface SlotDeath {
  /** What happened in a few words: "process.exit(3) was called", "killed by SIGSEGV", "ran out of heap memory". */
  readonly reason: string
  readonly exitCode: number | null
  readonly signal: string | null
  /** Last lines that the slot wrote to stderr before it ended. */
  readonly lastStderr: string
  /** Most memory that its process and all it started were seen to use under the job; absent where nobody looked. */
  readonly peakBytes?: number
  /** Jobs that ran in what ended, any of which may have caused it; 1 when it was this one, 0 when it was another. Default 1. */
  readonly suspects?: number
}

const escape = (character: string): string => `\\u${character.charCodeAt(0).toString(16).padStart(4, "0")}`

/** A death as bytes. */
export const encodeSlotDeath = (death: SlotDeath): Uint8Array => {
  const json = JSON.stringify(death).replace(/[^ -~]/g, escape)
  const bytes = new Uint8Array(json.length)
  for (let i = 0; i < json.length; i++) bytes[i] = json.charCodeAt(i)
  return bytes
}

const parse = (bytes: Uint8Array): unknown => {
  let json = ""
  for (const byte of bytes) json += String.fromCharCode(byte)
  try {
    return JSON.parse(json)
  } catch {
    return null
  }
}

/** Reads a death. What is missing or of another type is left empty, since a job can forge it. */
export const decodeSlotDeath = (bytes: Uint8Array): SlotDeath => {
  const parsed = parse(bytes)
  const read: { readonly [K in keyof SlotDeath]?: unknown } = typeof parsed === "object" && parsed !== null
    ? parsed
    : {}
  return {
    reason: typeof read.reason === "string" ? read.reason : "the slot process ended",
    exitCode: typeof read.exitCode === "number" ? read.exitCode : null,
    signal: typeof read.signal === "string" ? read.signal : null,
    lastStderr: typeof read.lastStderr === "string" ? read.lastStderr : "",
    ...(typeof read.peakBytes === "number" && read.peakBytes > 0 ? { peakBytes: read.peakBytes } : {}),
    ...(typeof read.suspects === "number" ? { suspects: read.suspects } : {})
  }
}
