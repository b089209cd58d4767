/** From the death of a node to its jobs running elsewhere: it is killed, or falls silent. */
import { createJobCluster } from "dispy/promise"
import { existsSync, writeFileSync } from "node:fs"
import { mkdtemp, rm } from "node:fs/promises"
import { tmpdir } from "node:os"
import { join } from "node:path"
import * as Daemon from "../support/Daemon.ts"
import { type Metrics, pause } from "../support/Drive.ts"

/** Says in a file that it runs, and on which node, and stays until it is told to end. */
const stay = async (directory: string, id: number): Promise<string> => {
  const { existsSync: isThere, writeFileSync: write } = process.getBuiltinModule("node:fs")
  write(`${directory}/${id}-${dispy.nodeName}`, "")
  while (!isThere(`${directory}/end`)) await new Promise((resolve) => setTimeout(resolve, 5))
  return dispy.nodeName
}

const pulseMillis = 1000

/** Milliseconds from the signal to when all jobs of the node run on the other one. */
const failOver = async (signal: "SIGKILL" | "SIGSTOP"): Promise<number> => {
  await using first = await Daemon.start(2, ["--name", "first"])
  const directory = await mkdtemp(join(tmpdir(), "failover-"))
  try {
    await using cluster = await createJobCluster(stay, {
      nodes: first.address,
      reentrant: true,
      recoverFile: false,
      pulseInterval: pulseMillis,
      logLevel: "none"
    })
    const jobs = [0, 1].map((id) => cluster.submit(directory, id))
    const areOn = async (node: string): Promise<void> => {
      while (![0, 1].every((id) => existsSync(join(directory, `${id}-${node}`)))) await pause(1)
    }
    await areOn("first")
    await using second = await Daemon.start(2, ["--name", "second"])
    await cluster.allocateNode(second.address)
    while (cluster.status().nodes.filter(({ state }) => state === "ready").length < 2) await pause(5)
    // In the middle between two pulses, wherever that is.
    await pause(Math.random() * pulseMillis)
    const start = performance.now()
    first.child.kill(signal)
    await areOn("second")
    const millis = performance.now() - start
    if (signal === "SIGSTOP") first.child.kill("SIGCONT")
    writeFileSync(join(directory, "end"), "")
    for (const job of jobs) if (await job.result() !== "second") throw new Error("a job came back from the dead")
    return millis
  } finally {
    await rm(directory, { recursive: true, force: true })
  }
}

/** Milliseconds for a node that is killed, pulses for one that falls silent. */
export const measure = async (): Promise<Metrics> => ({
  killedMillis: await failOver("SIGKILL"),
  silentPulses: await failOver("SIGSTOP") / pulseMillis
})
