import { describe, expect, it } from "vitest"
import { type DispyNode, nothingTransferred } from "../../../src/domain/DispyNode.ts"
import { explain, type Facts } from "../../../src/domain/scheduler/Explain.ts"

const aNode = (node: Partial<DispyNode> = {}): DispyNode => ({
  address: "alpha:51348",
  ipAddr: "10.0.0.1",
  name: "alpha",
  state: "ready",
  reason: "",
  cpus: 2,
  availCpus: 2,
  busy: 0,
  jobsDone: 0,
  cpuTime: 0,
  sentBytes: 0,
  receivedBytes: 0,
  updateTime: 0,
  availInfo: undefined,
  platform: "",
  transferred: nothingTransferred,
  ...node
})

const aJob = { status: "Created", nodeId: "", pinnedTo: "", cancelReason: "", attempt: 0 } as const

const facts = (given: Partial<Facts>): Facts => ({
  jobId: "7",
  job: aJob,
  error: "",
  nodeAddress: "",
  pinnedAddress: "",
  ahead: 0,
  nodes: [aNode()],
  ...given
})

describe("why a job waits", () => {
  it.each<readonly [string, Partial<Facts>, string, string]>([
    ["no node", { nodes: [] }, "NoNodes", "the cluster knows of no node"],
    [
      "no free slot",
      { nodes: [aNode({ busy: 2 })], ahead: 3 },
      "NoFreeSlot",
      "3 jobs of the cluster are before it: alpha:51348 has 2 jobs on 2 cpus"
    ],
    [
      "not connected yet",
      { nodes: [aNode({ state: "connecting" })] },
      "Connecting",
      "alpha:51348 has not answered yet"
    ],
    [
      "not reached",
      { nodes: [aNode({ state: "missing", reason: "connection refused" })] },
      "NoUsableNode",
      "alpha:51348 is not reached: connection refused"
    ],
    [
      "leased to another",
      { nodes: [aNode({ state: "busy", reason: "node alpha is leased to bob@desk" })] },
      "NoUsableNode",
      "leased to bob@desk"
    ],
    [
      "allocation says no",
      { nodes: [aNode({ state: "unused", reason: "allocate gave 0 cpus" })] },
      "NoUsableNode",
      "is not used: allocate gave 0 cpus"
    ],
    [
      "setup failed",
      { nodes: [aNode({ state: "refused", reason: "setup threw" })] },
      "NoUsableNode",
      "does not take the computation: setup threw"
    ],
    ["deallocated", { nodes: [aNode({ state: "deallocated" })] }, "NoUsableNode", "deallocateNode was called"],
    [
      "closed",
      { nodes: [aNode({ state: "closed", reason: "closeNode was called" })] },
      "NoUsableNode",
      "was left: closeNode was called"
    ],
    ["no cpus", { nodes: [aNode({ cpus: 0 })] }, "NoUsableNode", "setNodeCpus"],
    [
      "pinned to a busy node",
      {
        job: { ...aJob, pinnedTo: "i" },
        pinnedAddress: "alpha:51348",
        nodes: [aNode({ busy: 2 }), aNode({ address: "beta" })]
      },
      "NoFreeSlot",
      "it is pinned to alpha:51348, which has 2 jobs on 2 cpus; it is next"
    ],
    [
      "pinned to a node that is leaving",
      {
        job: { ...aJob, pinnedTo: "i" },
        pinnedAddress: "alpha:51348",
        nodes: [aNode({ state: "leaving", reason: "the node is ending" })]
      },
      "PinnedNodeUnusable",
      "is leaving: the node is ending"
    ],
    [
      "pinned to a node that is gone",
      { job: { ...aJob, pinnedTo: "i" }, pinnedAddress: "gone", nodes: [aNode()] },
      "PinnedNodeGone",
      "not there any more"
    ],
    [
      "tried again later",
      {
        job: { ...aJob, attempt: 2 },
        retryMillis: 3210,
        attempts: [{ attempt: 2, node: "alpha:51348", startTime: 1, endTime: 2, reason: "job 7 failed: no" }]
      },
      "WaitingForRetry",
      "it was tried 2 times without a result (the last time: job 7 failed: no); it is tried again in 3.2 s"
    ],
    [
      "pinned to a benched node",
      {
        job: { ...aJob, pinnedTo: "i" },
        pinnedAddress: "alpha:51348",
        nodes: [aNode({ state: "benched", reason: "10 jobs failed" })]
      },
      "NodeBenched",
      "is benched: 10 jobs failed; it gets a single job now and then, and is used at once after allocateNode"
    ],
    ["given back", { job: { ...aJob, attempt: 2 }, nodes: [aNode({ busy: 2 })] }, "NoFreeSlot", "after attempt 2"]
  ])("%s", (_, given, code, text) => {
    const explanation = explain(facts(given))
    expect(explanation).toMatchObject({ jobId: "7", status: "Created", code })
    expect(explanation.text).toContain(text)
    expect(explanation.text.startsWith("job 7 waits: ")).toBe(true)
  })

  it("names only the pinned node, in words and as data", () => {
    const { nodes } = explain(facts({
      job: { ...aJob, pinnedTo: "i" },
      pinnedAddress: "beta",
      nodes: [aNode(), aNode({ address: "beta", busy: 1, cpus: 1 })]
    }))
    expect(nodes).toEqual([{ address: "beta", state: "ready", reason: "has 1 job on 1 cpu" }])
  })
})

describe("what became of a job", () => {
  it.each(
    [
      ["Running", "", "OnNode", "job 7 is with node alpha:51348, where it runs or is next"],
      ["Running", "cancel was called", "OnNode", "it is being ended: cancel was called"],
      ["Finished", "", "Ended", "job 7 has ended: it returned a result on alpha:51348"]
    ] as const
  )("%s %s", (status, cancelReason, code, text) => {
    const explanation = explain(facts({ job: { ...aJob, status, cancelReason }, nodeAddress: "alpha:51348" }))
    expect([explanation.code, explanation.status]).toEqual([code, status])
    expect(explanation.text).toContain(text)
  })

  it("is told with its attempts when there were several", () => {
    const attempts = [1, 2].map((attempt) => ({
      attempt,
      node: "a",
      startTime: 1,
      endTime: 2,
      reason: `no ${attempt}`
    }))
    const explanation = explain(facts({ job: { ...aJob, status: "Finished" }, nodeAddress: "b", attempts }))
    expect(explanation.text)
      .toBe("job 7 has ended: it returned a result on b; attempts without a result: 1 on a: no 1; 2 on a: no 2")
    expect(explanation.attempts).toEqual(attempts)
  })

  it("is told in the words of its error", () => {
    const job = { ...aJob, status: "Terminated" } as const
    expect(explain(facts({ job, error: "job 7 failed: no" })).text).toBe("job 7 has ended: job 7 failed: no")
  })
})
