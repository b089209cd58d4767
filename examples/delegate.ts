/** One computation that does what each job brings along: functions are sent with the jobs that need them. */
import { createJobCluster } from "dispy/promise"

/** Runs on the nodes: what a job takes along is there as a global while that job runs. */
function delegate(name: string, ...args: Array<number>): number {
  const found: unknown = Reflect.get(globalThis, name)
  if (typeof found !== "function") throw new Error(`there is no function ${name}`)
  return found(...args)
}

const add = (a: number, b: number): number => a + b
const multiply = (a: number, b: number): number => a * b
const factorial = (n: number): number => n < 2 ? 1 : n * factorial(n - 1)

await using cluster = await createJobCluster(delegate)
const run = (fn: (...args: Array<number>) => number, ...args: Array<number>) =>
  cluster.with({ depends: [fn] }).run(fn.name, ...args)

console.log("2 + 40 =", await run(add, 2, 40))
console.log("6 * 7 =", await run(multiply, 6, 7))
console.log("10! =", await run(factorial, 10))
// Gone after the jobs that had it:
console.log(await cluster.run("add", 1, 2).catch((error: Error) => error.message))
