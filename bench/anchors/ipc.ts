/** Raw `child_process` IPC: two children that echo, with the default serialization. */
import { fork } from "node:child_process"
import { once } from "node:events"
import { drive, type Metrics, type StepOptions } from "../support/Drive.ts"

/** Echoes per second with 1,000 outstanding. */
export const measure = async ({ isQuick }: StepOptions): Promise<Metrics> => {
  const waiting = new Map<number, (n: number) => void>()
  const children = [0, 1].map(() => fork(new URL("./ipcPeer.ts", import.meta.url), { execArgv: [] }))
  for (const child of children) {
    child.on("message", (n) => {
      waiting.get(n as number)?.(n as number)
      waiting.delete(n as number)
    })
  }
  const call = (n: number): Promise<number> =>
    new Promise((resolve) => {
      waiting.set(n, resolve)
      children[n & 1]!.send(n)
    })
  const total = isQuick ? 20_000 : 60_000
  await drive(call, total / 2, 1000)
  const window1000 = await drive(call, total, 1000)
  for (const child of children) {
    child.disconnect()
    await once(child, "exit")
  }
  return { window1000 }
}
