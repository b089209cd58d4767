/**
 * One thread of a slot process as its node sees it: a channel of two FIFOs, its
 * claims, and its end, of which its host tells.
 */
import { randomUUID } from "node:crypto"
import * as net from "node:net"
import type { SlotEnd } from "../../domain/node/SlotPoolEvent.ts"
import * as SlotFrames from "../../domain/wire/SlotFrames.ts"
import * as Fifos from "./Fifos.ts"
import * as ProcessTree from "./ProcessTree.ts"
import * as SlotChannel from "./SlotChannel.ts"
import * as SlotOutput from "./SlotOutput.ts"

/** A thread. */
export interface SlotThread {
  readonly id: number
  /** What its jobs started: that carries its marker. */
  readonly root: ProcessTree.TreeRoot
  readonly host: SlotChannel.SlotChannel
  /** Once its FIFOs are open. */
  channel: SlotChannel.SlotChannel | undefined
  /** Those FIFOs, the one that frames come from last. */
  files: ReadonlyArray<Fifos.Fifo>
  isEnded: boolean
}

/** A thread that is to be started in this host. */
export const make = (id: number, host: SlotChannel.SlotChannel, marker: string): SlotThread => ({
  id,
  root: { pid: 0, start: "", marker, seen: new Map() },
  host,
  channel: undefined,
  files: [],
  isEnded: false
})

const socketOf = ({ descriptor }: Fifos.Fifo, isInput: boolean): net.Socket =>
  new net.Socket({ fd: descriptor, readable: !isInput, writable: isInput })

/** Who hears of what a thread says. */
export type Hears = Pick<SlotChannel.SlotChannel, "onEvent" | "onFile">

/** Opens the thread's FIFOs and has its host start it. */
export const start = async (
  thread: SlotThread,
  told: Omit<SlotFrames.PrepareSlot, "claimsPath" | "nonce">,
  maker: Fifos.FifoMaker,
  hasClaims: boolean,
  { onEvent, onFile }: Hears
): Promise<void> => {
  const claims = hasClaims ? await Fifos.open(maker) : undefined
  const input = await Fifos.open(maker)
  const output = await Fifos.open(maker)
  const files = claims === undefined ? [input, output] : [claims, input, output]
  if (thread.isEnded) return files.forEach(Fifos.close)
  const nonce = randomUUID()
  const frames = socketOf(output, false)
  const channel = SlotChannel.make({
    id: thread.id,
    nonce,
    input: socketOf(input, true),
    frames,
    onEvent: (event) => {
      // It has opened them all.
      if (event._tag === "SlotReady") files.forEach(Fifos.unlink)
      onEvent(event)
    },
    onFile,
    onOther: () => false
  })
  thread.channel = channel
  thread.files = files
  const slotTold: SlotFrames.PrepareSlot = { ...told, nonce, claimsPath: claims?.path ?? "" }
  SlotChannel.expect(channel, slotTold, claims)
  SlotChannel.watch(channel, () => {})
  const begin: SlotFrames.StartThread = {
    slot: thread.id,
    told: slotTold,
    inputPath: input.path,
    outputPath: output.path,
    environment: { [ProcessTree.markerName]: thread.root.marker }
  }
  thread.host.input.write(
    SlotFrames.encodeFrame(SlotFrames.ToSlot.startThread, Buffer.from(JSON.stringify(begin)))
  )
}

/** Ends the thread as soon as it runs JavaScript, or waits. */
export const stop = (thread: SlotThread): void =>
  SlotChannel.sendNumber(thread.host, SlotFrames.ToSlot.stopThread, thread.id)

/** The thread is gone: reads what is left in its FIFO, gives up all of them, and says what became of its jobs. */
export const end = (thread: SlotThread): SlotEnd => {
  thread.isEnded = true
  const { channel } = thread
  thread.channel = undefined
  if (channel === undefined) return { slot: thread.id, unclaimed: 0, printed: [] }
  SlotChannel.drain(channel, thread.files.at(-1)!)
  thread.files.forEach(Fifos.unlink)
  const unclaimed = SlotChannel.close(channel)
  channel.input.destroy()
  channel.frames.destroy()
  return { slot: thread.id, unclaimed, printed: SlotOutput.remains(channel.output) }
}

/** What a host says of a thread; undefined if it makes no sense. */
export const endedIn = (payload: Uint8Array): SlotFrames.ThreadEnded | undefined => {
  try {
    const told: unknown = JSON.parse(Buffer.from(payload).toString())
    const { exitCode, reason, slot } = told as Record<keyof SlotFrames.ThreadEnded, unknown>
    return typeof slot === "number" ? { slot, exitCode: Number(exitCode), reason: String(reason) } : undefined
  } catch {
    return undefined
  }
}
