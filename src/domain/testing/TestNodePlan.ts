/** Which nodes a test asks for: a number of them, names, or objects; and the checks that turn them into a list. */
import { Result } from "effect"
import { InvalidOption } from "../ClusterError.ts"
import * as IpAddress from "../IpAddress.ts"

/** A node of a test. */
export interface TestNodeOptions {
  /** What the node is called: by node lists, by `Faults`, and by itself. A host name. */
  readonly name: string
  /** Jobs at the same time. Default 2. */
  readonly cpus?: number | undefined
}

/** The nodes of a test: so many ("node-1", "node-2" …), or these. */
export type TestNodesInput = number | ReadonlyArray<string | TestNodeOptions>

/** A node that was asked for. */
export interface PlannedNode {
  readonly name: string
  readonly cpus: number
}

/** Slots of a node that nobody said anything of. */
export const defaultCpus = 2

/** More than that are a mistake: they share one process. */
const mostNodes = 1000

const fail = (reason: string) => Result.fail(new InvalidOption({ option: "nodes", reason }))

/** Reads a node. */
export const planOne = (node: unknown): Result.Result<PlannedNode, InvalidOption> => {
  const options = typeof node === "string" ? { name: node } : node as Partial<TestNodeOptions> | null
  if (typeof options !== "object" || options === null) {
    return fail(`${String(node)} is no node; write a name, or an object { name, cpus }`)
  }
  const { cpus = defaultCpus, name } = options
  const unknown = Object.keys(options).find((key) => key !== "name" && key !== "cpus")
  if (unknown !== undefined) return fail(`${unknown} is no key of a node; the keys are name, cpus`)
  if (typeof name !== "string" || !/^[A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9])?$/.test(name)) {
    return fail(`${JSON.stringify(name)} is not a host name: letters, digits, "-", "." and "_" in between`)
  }
  if (name.toLowerCase() === "local") {
    return fail("local is the node that a cluster starts for itself; choose another name")
  }
  if (IpAddress.forms(name).length > 0) return fail(`${name} is an address, which nodes of a test are given`)
  if (!Number.isInteger(cpus) || cpus < 1) return fail(`cpus ${String(cpus)} of ${name} is not a whole number above 0`)
  return Result.succeed({ name, cpus })
}

/** Reads the nodes of a test. */
export const plan = (nodes: TestNodesInput | undefined): Result.Result<ReadonlyArray<PlannedNode>, InvalidOption> =>
  Result.gen(function*() {
    const given: unknown = nodes ?? 2
    if (typeof given === "number") {
      if (!Number.isInteger(given) || given < 0 || given > mostNodes) {
        return yield* fail(`${given} is not a whole number from 0 to ${mostNodes}`)
      }
      return Array.from({ length: given }, (_, i) => ({ name: `node-${i + 1}`, cpus: defaultCpus }))
    }
    if (!Array.isArray(given)) return yield* fail(`${String(given)} is neither a number nor a list of names`)
    const planned = yield* Result.all(given.map(planOne))
    const names = planned.map(({ name }) => name.toLowerCase())
    const twice = names.find((name, i) => names.indexOf(name) !== i)
    return twice === undefined ? planned : yield* fail(`${twice} is there twice; names tell the nodes apart`)
  })

/** The address of the node that is started as so many-th, from 1. */
export const addressOf = (number: number): string => `10.0.${Math.floor((number - 1) / 250)}.${(number - 1) % 250 + 1}`
