/** How jobs that were tried end without another attempt: never as cancelled before their start. */
import { describe, expect, it } from "vitest"
import type { JobRecord } from "../../../src/domain/scheduler/JobRecord.ts"
import { invariants } from "../../../src/domain/scheduler/SchedulerState.ts"
import { Outcome } from "../../../src/domain/wire/Entries.ts"
import { aFleet, aJob, someTerms } from "../../support/SchedulerBuilders.ts"

describe("a job that was tried", () => {
  it.each<readonly [string, string, (fleet: ReturnType<typeof aFleet>, job: JobRecord) => void]>([
    ["is cancelled while its node gives it back", "", (fleet, job) => {
      fleet.pass(2000)
      fleet.send({ _tag: "Cancelled", computationId: "c", jobs: [job], reason: "no" })
      fleet.answer("a", Outcome.returned)
    }],
    ["waits for a node that its cluster leaves", "a", (fleet) => {
      const how = { reason: "no", isTerminating: false, keepsPinned: false }
      fleet.send({ _tag: "SeatClosing", computationId: "c", nodeId: "a", ...how })
    }],
    ["waits when its cluster is closed", "", (fleet) => {
      fleet.send({ _tag: "ComputationClosed", computationId: "c", reason: "no" })
    }]
  ])("that %s ends as one that ran", (_, pinnedTo, end) => {
    const fleet = aFleet()
    fleet.send({ _tag: "ComputationOpened", computationId: "c", isReentrant: false })
    fleet.join("a", 1)
    const job = aJob(1, pinnedTo, someTerms({ times: 3 }))
    fleet.send({ _tag: "Submitted", computationId: "c", jobs: [job] })
    fleet.answer("a", Outcome.failed)
    end(fleet, job)
    expect([job.status, fleet.outcomes.get(job)]).toEqual(["Terminated", ["no"]])
    expect(invariants(fleet.state)).toEqual([])
  })
})
