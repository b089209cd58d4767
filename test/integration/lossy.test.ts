/** Nodes that are found where datagrams get lost; `test/soak/lossy.soak.ts` counts how often, among 100,000 others. */
import { afterAll, expect, it } from "vitest"
import { untilIdle } from "../support/Leftovers.ts"
import * as LossyNetwork from "../support/LossyNetwork.ts"
import * as Networks from "../support/Networks.ts"

afterAll(untilIdle)

Networks.suite("on a network of both kinds of IP", ["iptables", "tc"], (networks) => {
  it("nodes are found in ten seconds though nine of ten datagrams get lost each way and the others come 20 times", async () => {
    const { find, nodes } = await LossyNetwork.make(networks(), "both", 2, { udpLossPercent: 90, copies: 20 })
    const { log, millis } = await find()
    expect(millis).toBeLessThan(10_000)
    expect(log).toBe("")
    for (const node of nodes) expect(node.log()).not.toContain("datagram")
  })
})
