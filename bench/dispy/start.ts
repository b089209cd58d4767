/** How long it takes until the first result is there. */
import { spawn } from "node:child_process"
import { once } from "node:events"
import { fileURLToPath } from "node:url"
import * as Daemon from "../support/Daemon.ts"
import { type Metrics, pause, type StepOptions } from "../support/Drive.ts"
import { median } from "../support/Statistics.ts"
import type { FirstResult } from "./firstResult.ts"

const program = fileURLToPath(new URL("./firstResult.ts", import.meta.url))

const firstResult = async (node: string): Promise<FirstResult & { readonly process: number }> => {
  const startedAt = performance.timeOrigin + performance.now()
  const child = spawn(process.execPath, [program, node], { stdio: ["ignore", "pipe", "inherit"] })
  let output = ""
  child.stdout.setEncoding("utf8").on("data", (text: string) => {
    output += text
  })
  const [code] = await once(child, "close")
  if (code !== 0) throw new Error(`the program for the first result ended with ${code}`)
  const told = JSON.parse(output) as FirstResult
  return { ...told, process: told.at - startedAt }
}

/** Medians in milliseconds, each over fresh processes. */
export const measure = async ({ isQuick }: StepOptions): Promise<Metrics> => {
  const times = Array.from({ length: isQuick ? 2 : 5 })
  const ready: Array<number> = []
  for (const _ of times) {
    await using daemon = await Daemon.start(2)
    ready.push(daemon.readyMillis)
  }
  const clusters: Array<FirstResult> = []
  {
    await using daemon = await Daemon.start(2)
    for (const _ of times) {
      await pause(400)
      clusters.push(await firstResult(daemon.address))
    }
  }
  const embedded: Array<number> = []
  for (const _ of times) embedded.push((await firstResult("local")).process)
  return {
    dispynodeReady: median(ready),
    clusterFirst: median(clusters.map((one) => one.first)),
    clusterNext: median(clusters.map((one) => one.next)),
    embedded: median(embedded)
  }
}
