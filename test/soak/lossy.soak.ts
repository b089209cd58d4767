/** Clients look for four nodes while nine of ten datagrams get lost each way; about 4 minutes on two cores. */
import { fileURLToPath } from "node:url"
import { afterAll, expect, it } from "vitest"
import { untilIdle } from "../support/Leftovers.ts"
import * as LossyNetwork from "../support/LossyNetwork.ts"
import * as Networks from "../support/Networks.ts"

const flood = fileURLToPath(new URL("../fixtures/networks/flood.ts", import.meta.url))

/** Of 20 clients, so many may take longer than ten seconds: fewer than 1 in 100 does, so that more are no chance. */
const [clients, mayBeLate] = [20, 2]

const figures = (times: ReadonlyArray<number>): string => {
  const sorted = times.toSorted((a, b) => a - b)
  return `${times.length} clients: median ${sorted[times.length >> 1]} ms, longest ${sorted.at(-1)} ms`
}

afterAll(untilIdle)

Networks.suite("on an IPv4 network", ["iptables", "tc"], (networks) => {
  it("all nodes are found in ten seconds, though datagrams get lost, come a hundred times, and overtake each other", async () => {
    const impairment = { udpLossPercent: 90, copies: 100, latePercent: 20 }
    const { find, nodes } = await LossyNetwork.make(networks(), "ipv4", 4, impairment)
    const times: Array<number> = []
    for (let client = 0; client < clients; client++) {
      const { log, millis } = await find()
      times.push(millis)
      if (millis < Infinity) expect(log).toBe("")
    }
    console.log(figures(times))
    expect(times.filter((millis) => millis > 10_000).length).toBeLessThanOrEqual(mayBeLate)
    for (const node of nodes) expect(node.log()).not.toContain("datagram")
  })

  it("all nodes are found in ten seconds among 100,000 datagrams of strangers, and the logs stay short", async () => {
    const impairment = { udpLossPercent: 90, neverFrom: ["10.213.1.1"] }
    const { find, nodes, stranger } = await LossyNetwork.make(networks(), "ipv4", 4, impairment)
    const flooding = stranger.run(process.execPath, [flood, "10.213.1.255", "100000"])
    const { log, millis } = await find()
    console.log(`among junk: ${millis} ms`)
    expect(millis).toBeLessThan(10_000)
    expect(await flooding).toEqual({ status: 0, stdout: "", stderr: "" })
    const after = await find()
    console.log(`after it: ${after.millis} ms`)
    expect([log, after.log]).toEqual(["", ""])
    for (const node of nodes) {
      // Once for each reason.
      expect(node.log().match(/datagram/g)?.length).toBeLessThanOrEqual(3)
      expect(await node.stop()).toBe(0)
    }
  })
})
