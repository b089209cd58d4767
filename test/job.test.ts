/** What modules import from `dispy/job`: the global of jobs, read when it is used. */
import { afterEach, describe, expect, it } from "vitest"
import { dispy, type DispyGlobal } from "../src/job.ts"

const fields = ["jobId", "signal", "provisionalResult", "sendFile", "shared", "nodeName", "ipAddr"] as const

afterEach(() => {
  Reflect.deleteProperty(globalThis, "dispy")
})

describe("dispy/job", () => {
  for (const field of fields) {
    it(`throws for ${field} outside of a job, and says what to do`, () => {
      expect(() => dispy[field]).toThrow(`dispy.${field} exists only inside a job`)
      expect(() => dispy[field]).toThrow("submit the code to a cluster, or set globalThis.dispy")
    })
  }

  it("reads the global of the job that runs, each time anew", () => {
    const { signal } = new AbortController()
    const provisionalResult = () => {}
    const sendFile = () => Promise.resolve(0)
    const global: DispyGlobal = {
      jobId: 7,
      signal,
      provisionalResult,
      sendFile,
      shared: [1],
      nodeName: "alpha",
      ipAddr: "127.0.0.1"
    }
    globalThis.dispy = global
    const expected = [7, signal, provisionalResult, sendFile, [1], "alpha", "127.0.0.1"]
    expect(fields.map((field) => dispy[field])).toEqual(expected)
    globalThis.dispy = { ...global, jobId: 8 }
    expect(dispy.jobId).toBe(8)
  })

  it("cannot be changed by a job", () => {
    expect(Object.isFrozen(dispy)).toBe(true)
  })
})
