/**
 * The program that runs in a job process. It starts blank, is told once which
 * computation to load, and then runs one job after another until its node closes
 * the pipe or kills it; or it becomes the host of the computation's threads. Plain
 * JavaScript without Effect: a slot has to be there in milliseconds and to cost
 * microseconds per job.
 *
 * Each job is claimed before it starts and its reply is written before the next
 * one is claimed; so whatever happens to this process, its node knows which job
 * it happened in.
 */
import { type PrepareSlot, slotInput, ToSlot } from "../domain/wire/SlotFrames.ts"
import * as Slot from "./Slot.ts"
import { noState } from "./Surroundings.ts"

/** What a host does with frames. */
let onHostFrame: (type: number, payload: Uint8Array) => void = () => {}

const prepare = async (slot: Slot.Slot, told: PrepareSlot): Promise<void> => {
  try {
    process.chdir(told.directory)
    if (told.executor === "process") return await Slot.serve(slot, told)
    // Threads cost start-up time: not for the others.
    const [Host, Setup] = await Promise.all([import("./ThreadHost.ts"), import("./Setup.ts")])
    const nothing = { own: noState, given: noState }
    onHostFrame = Host.make(
      told.hostSetup === null ? nothing : await Setup.runInHost(told.hostSetup, () => Slot.settingUp("setup"))
    )
    slot.output.early = null
    Slot.announce()
  } catch (error) {
    Slot.refuse(slot, error)
  }
}

Slot.listen(slotInput, false, (slot, type, payload) => {
  if (type === ToSlot.prepare) void prepare(slot, JSON.parse(Buffer.from(payload).toString()) as PrepareSlot)
  else onHostFrame(type, payload)
})
