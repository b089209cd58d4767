/** Bare `child_process.spawn` of a program that does nothing, two at a time. */
import { spawn } from "node:child_process"
import { once } from "node:events"
import { drive, type Metrics, type StepOptions } from "../support/Drive.ts"

const run = async (n: number): Promise<number> => {
  const child = spawn("/bin/true", [String(n)], { stdio: ["ignore", "pipe", "pipe"] })
  child.stdout.resume()
  child.stderr.resume()
  await once(child, "close")
  return n
}

/** Programs per second. */
export const measure = async ({ isQuick }: StepOptions): Promise<Metrics> => {
  await drive(run, 50, 2)
  return { rate: await drive(run, isQuick ? 300 : 800, 2) }
}
