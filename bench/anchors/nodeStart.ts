/** Start of a Node process that does nothing: the floor of every cold start. */
import { spawn } from "node:child_process"
import { once } from "node:events"
import { latencies, type Metrics, type StepOptions } from "../support/Drive.ts"
import { median } from "../support/Statistics.ts"

/** Milliseconds to its first line. */
export const measure = async ({ isQuick }: StepOptions): Promise<Metrics> => {
  const call = async (): Promise<void> => {
    const child = spawn(process.execPath, ["-e", "console.log(1)"], { stdio: ["ignore", "pipe", "inherit"] })
    await once(child.stdout, "data")
    await once(child, "close")
  }
  await call()
  return { millis: median(await latencies(call, isQuick ? 3 : 7, 0)) }
}
