/** Recovered jobs as JSON: whatever a job returned, its line is JSON. */
import * as fc from "fast-check"
import { describe, expect, it } from "vitest"
import { JobFailed } from "../../../src/domain/JobError.ts"
import * as JobJson from "../../../src/programs/cli/recover/JobJson.ts"
import type { RecoveredJob } from "../../../src/programs/client/RecoverJobs.ts"

const job = (more: Partial<RecoveredJob>): RecoveredJob => ({
  number: 1,
  id: undefined,
  computation: "compute",
  computationId: "c",
  status: "Finished",
  result: undefined,
  exception: undefined,
  stdout: "",
  stderr: "",
  ipAddr: "a:1",
  node: "a",
  startTime: 1,
  endTime: 2,
  provisionalResults: [],
  files: [],
  ...more
})

const jsonOf = (more: Partial<RecoveredJob>) => JSON.parse(JSON.stringify(JobJson.of(job(more))))

describe("JobJson", () => {
  it("makes what JSON has not what is nearest to it", () => {
    const circular: Record<string, unknown> = { n: 1n }
    circular["self"] = { circular }
    const result = {
      circular,
      map: new Map([["a", new Set([1])]]),
      bytes: new Uint8Array([1, 2, 3]),
      numbers: new Float64Array([0.5]),
      date: new Date(0),
      nothing: undefined
    }
    expect(jsonOf({ result }).result).toEqual({
      circular: { n: "1", self: { circular: "[circular]" } },
      map: [["a", [1]]],
      bytes: "AQID",
      numbers: [0.5],
      date: "1970-01-01T00:00:00.000Z"
    })
  })

  it("tells what a job threw, with the user's stack", () => {
    const exception = new JobFailed({
      jobId: 1,
      node: "a:1",
      errorName: "RangeError",
      errorMessage: "too far",
      userStack: "RangeError: too far\n    at render.ts:3:1",
      cause: new RangeError("too far")
    })
    expect(jsonOf({ status: "Terminated", exception }).exception).toEqual({
      _tag: "JobFailed",
      message: "job 1 failed on node a:1: RangeError: too far",
      errorName: "RangeError",
      stack: "RangeError: too far\n    at render.ts:3:1"
    })
  })

  it("leaves JSON as it is, and gives a line for any value", () => {
    fc.assert(fc.property(fc.jsonValue(), (result) => {
      expect(jsonOf({ result }).result).toEqual(JSON.parse(JSON.stringify(result)))
    }))
    const anything = fc.anything({
      withBigInt: true,
      withMap: true,
      withSet: true,
      withTypedArray: true,
      withDate: true
    })
    fc.assert(fc.property(anything, (result) => {
      expect(jsonOf({ result, provisionalResults: [result] })).toMatchObject({ number: 1 })
    }))
  })
})
