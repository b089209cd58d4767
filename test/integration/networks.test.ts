/** Clusters in networks of several machines: nodes are listed by address, whatever lies between them and the client. */
import { afterAll, expect, it } from "vitest"
import type { Outcome } from "../fixtures/networks/client.ts"
import { untilIdle } from "../support/Leftovers.ts"
import * as Networks from "../support/Networks.ts"

/** What every job of the client program has when nothing is missing. */
const everything = {
  status: "Finished",
  provisional: [1, 2],
  arrived: ["argument", "result", "file there", "file back"]
}

/** Asserts that so many jobs ran, each with all it sends and gets; resolves to the machines that ran them. */
const machinesOf = (outcome: Outcome, count: number): ReadonlyArray<string> => {
  expect(outcome.jobs).toHaveLength(count)
  for (const [index, job] of outcome.jobs.entries()) {
    const stdout = `job ${index + 1} on ${job.machine}\n`
    expect(job).toEqual({ ...everything, text: `hello from job ${index + 1}`, machine: job.machine, stdout })
  }
  return [...new Set(outcome.jobs.map((job) => job.machine))].toSorted()
}

afterAll(untilIdle)

Networks.suite("in one network", [], (networks) => {
  it("two nodes share the jobs of a client", async () => {
    const { host, network } = networks()
    const lan = await network("lan")
    const [client, alpha, beta] = [await host("client", lan), await host("alpha", lan), await host("beta", lan)]
    const nodes = await Promise.all([alpha.node(), beta.node()])
    expect(nodes.map((node) => node.address)).toEqual(["10.213.1.2:51348", "10.213.1.3:51348"])
    const sendFileTo = [alpha.ipv4(), beta.ipv4()]
    const outcome = await client.client({ options: { nodes: sendFileTo }, jobs: 4, sendFileTo })
    expect(machinesOf(outcome, 4)).toEqual(["alpha", "beta"])
    expect(outcome.sentFiles).toEqual(sendFileTo)
    expect(await Promise.all(nodes.map((node) => node.stop()))).toEqual([0, 0])
  })
})
