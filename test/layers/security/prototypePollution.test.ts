/** Names that lead to the prototype of all objects, in everything that is read of others: they change nothing. */
import { afterEach, describe, expect, it } from "@effect/vitest"
import { Effect, Result, Schema } from "effect"
import { RpcSerialization } from "effect/rpc"
import * as fs from "node:fs"
import * as os from "node:os"
import * as path from "node:path"
import * as Datagram from "../../../src/domain/discovery/Datagram.ts"
import { NodeRpcs } from "../../../src/domain/NodeRpcs.ts"
import * as PutFrames from "../../../src/domain/transfer/BulkFrames.ts"
import * as SlotDeath from "../../../src/domain/wire/SlotDeath.ts"
import * as NodeOptions from "../../../src/programs/node/NodeOptions.ts"
import * as Settings from "../../../src/programs/settings/Settings.ts"
import * as Values from "../../../src/slot/Values.ts"

/** Objects, as JSON, with each name in each place: 200 of them. */
const polluted: ReadonlyArray<string> = (() => {
  const names = [
    "__proto__",
    "constructor",
    "prototype",
    "toString",
    "hasOwnProperty",
    "__defineGetter__",
    "valueOf",
    "__lookupSetter__",
    "then",
    "toJSON"
  ]
  const values = [`{"polluted":1}`, `{"prototype":{"polluted":1}}`, `["polluted"]`, `"polluted"`, "null"]
  const places = [
    (name: string, value: string) => `{${JSON.stringify(name)}:${value}}`,
    (name: string, value: string) => `{"a":{${JSON.stringify(name)}:${value}}}`,
    (name: string, value: string) => `{"a":[{${JSON.stringify(name)}:${value}}]}`,
    (name: string, value: string) => `{"constructor":{"prototype":{${JSON.stringify(name)}:${value}}}}`
  ]
  return names.flatMap((name) => values.flatMap((value) => places.map((place) => place(name, value))))
})()

const pristine = [Object, Array, Function, String, Number, Map, Set, Error].map(({ prototype }) =>
  Reflect.ownKeys(prototype)
)

afterEach(() => {
  expect([Object, Array, Function, String, Number, Map, Set, Error].map(({ prototype }) => Reflect.ownKeys(prototype)))
    .toEqual(pristine)
  expect(Reflect.get({}, "polluted")).toBeUndefined()
})

/** Where the names are beside what belongs there: `{"own":…` becomes `{"__proto__":…,"own":…`. */
const beside = (name: string, valid: object): string => `{${name.slice(1, -1)},${JSON.stringify(valid).slice(1)}`

describe(`names of prototypes, ${polluted.length} times each`, () => {
  it("in values become ordinary properties, or nothing", () => {
    expect(polluted).toHaveLength(200)
    for (const json of polluted) {
      const value: unknown = JSON.parse(json)
      const copy = Values.decode(Values.encode(value))
      expect(Object.getPrototypeOf(copy)).toBe(Object.prototype)
      expect(JSON.stringify(copy)).toBe(JSON.stringify(value))
    }
  })

  it("in datagrams are not there, or make them junk", () => {
    const nonce = "0".repeat(32)
    const valid = { nonce, sentAtMillis: 1, message: { _tag: "Ping", answerAt: [] } }
    for (const json of polluted) {
      for (
        const text of [json, beside(json, valid), JSON.stringify({ ...valid, message: JSON.parse(json) as unknown })]
      ) {
        const bytes = Buffer.concat([Buffer.from("dispy\u0001\0", "latin1"), Buffer.alloc(32), Buffer.from(text)])
        const read = Datagram.decode(bytes, undefined)
        if (Result.isFailure(read)) expect(read.failure).toBe("junk")
        else {
          expect(Object.keys(read.success).toSorted()).toEqual(["message", "nonce", "sentAtMillis"])
          expect(Object.getPrototypeOf(read.success)).toBe(Object.prototype)
        }
      }
    }
  })

  it("in headers of bulk connections are not there, or make them none", () => {
    const decode = Schema.decodeUnknownResult(Schema.fromJsonString(PutFrames.PutHeader))
    const target = { _tag: "Arguments", jobId: 1, attempt: 1 }
    const valid = { id: 1, computationId: "__proto__", target, sizeBytes: 1, isResumed: false }
    for (const json of polluted) {
      expect(Result.isFailure(decode(json))).toBe(true)
      const read = decode(beside(json, valid))
      if (Result.isSuccess(read)) {
        expect({ ...read.success }).toEqual(valid)
        expect(Object.getPrototypeOf(read.success)).toBe(Object.prototype)
      }
    }
  })

  it.effect("in messages of the control protocol, as names of requests and as ids, find nothing", () =>
    Effect.gen(function*() {
      const { codecFor } = yield* RpcSerialization.RpcSerialization
      const codec = codecFor(NodeRpcs.requests.get("CancelJobs")!.payloadSchema as Schema.Codec<unknown>)
      for (const json of polluted) {
        const hostile = JSON.parse(beside(json, { leaseId: "__proto__", computationId: "constructor", jobIds: [1] }))
        const read = Schema.decodeUnknownSync(codec)(Schema.encodeUnknownSync(codec)(hostile as unknown)) as object
        expect(Object.keys(read).toSorted()).toEqual(["computationId", "jobIds", "leaseId"])
        expect(Object.getPrototypeOf(read)).toBe(Object.prototype)
      }
      for (const name of ["__proto__", "constructor", "toString"]) expect(NodeRpcs.requests.has(name)).toBe(false)
    }).pipe(Effect.provide(RpcSerialization.layerSchemaBinary())))

  it("in configuration files are refused by name, or are no object", () => {
    const directory = fs.mkdtempSync(path.join(os.tmpdir(), "dispy-test-pollution-"))
    try {
      const file = path.join(directory, "dispy.json")
      for (const json of polluted) {
        fs.writeFileSync(file, json)
        const read = Settings.read(file)
        const merged = Result.flatMap(
          read,
          (config) => Settings.merge(NodeOptions.table, { flags: {}, environment: {}, prefix: "", file: config })
        )
        expect(Result.isFailure(merged) && merged.failure).toMatch(/there is no option/)
      }
    } finally {
      fs.rmSync(directory, { recursive: true })
    }
  })

  it("in the end of a slot, as a job can forge it, are text at most", () => {
    for (const json of polluted) {
      const death = SlotDeath.decodeSlotDeath(Buffer.from(json))
      expect(Object.getPrototypeOf(death)).toBe(Object.prototype)
      expect(Reflect.get(death, "polluted")).toBeUndefined()
    }
  })
})
