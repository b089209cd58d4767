/** What tests of the slot pool do with simulated slots, in a word each. */
import { decodeSlotDeath } from "../../src/domain/wire/SlotDeath.ts"
import * as Simulated from "./SimulatedSlots.ts"

/** A simulation with an open computation. */
export const ready = (
  config: Parameters<typeof Simulated.make>[0] = {},
  kind: Simulated.SessionKind = { kind: "process", concurrency: 1 }
): Simulated.Simulation => {
  const simulation = Simulated.make(config)
  Simulated.open(simulation, 1, { kind })
  Simulated.settle(simulation, 5)
  return simulation
}

/** Ids of the jobs that run. */
export const runningJobs = (simulation: Simulated.Simulation): ReadonlyArray<number> =>
  [...simulation.slots.values()].flatMap((slot) => slot.running.map((job) => job.id))

/** Outcome of a job; undefined before it has one. */
export const outcomeOf = (simulation: Simulated.Simulation, job: number, session = 1): number | undefined =>
  simulation.replies.get(`${session}/${job}`)?.outcome

/** Frames and claims go on, but no job ends. */
export const startJobs = (simulation: Simulated.Simulation): void => {
  for (let isBusy = true; isBusy;) {
    isBusy = false
    for (const slot of simulation.slots.values()) {
      isBusy = Simulated.receive(slot) || Simulated.begin(simulation, slot) || Simulated.read(simulation, slot) ||
        isBusy
    }
  }
}

/** Why a job crashed. */
export const reasonOf = (simulation: Simulated.Simulation, job: number): string =>
  decodeSlotDeath(simulation.replies.get(`1/${job}`)!.result).reason

/** The slot that runs a job. */
export const slotOf = (simulation: Simulated.Simulation, job: number): Simulated.SimulatedSlot =>
  [...simulation.slots.values()].find((slot) => slot.running.some((one) => one.id === job))!
