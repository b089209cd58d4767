/** What can be in `depends`, in which order it is defined, and what is said about the rest. */
import { Effect } from "effect"
import { describe, expect, it } from "vitest"
import type { ComputationError } from "../../../src/domain/ComputationError.ts"
import * as Depends from "../../../src/programs/client/Depends.ts"
import * as Definitions from "../../../src/slot/Definitions.ts"

const pack = (...entries: ReadonlyArray<unknown>) => Effect.runPromise(Depends.pack(entries))
const refusal = (...entries: ReadonlyArray<unknown>): Promise<ComputationError> =>
  Effect.runPromise(Effect.flip(Depends.pack(entries)))
const namesOf = async (...entries: ReadonlyArray<unknown>) =>
  (await pack(...entries)).definitions.map(({ name }) => name)

const half = (n: number): number => n / 2
const quarter = (n: number): number => half(half(n))
class Shape {
  static readonly scale = quarter(8)
  #secret = 1
  get secret() {
    return this.#secret
  }
}
class Circle extends Shape {
  static count = 0
  static {
    Circle.count += 5
  }
  readonly radius: number
  constructor(radius: number) {
    super()
    this.radius = radius
  }
  grown(): Circle {
    return grow(this)
  }
}
function grow(circle: Circle): Circle {
  return new Circle(circle.radius * 2)
}

describe("depends", () => {
  it("are defined in the order that they need, whatever that in the list, and work as they did", async () => {
    const packed = await pack(grow, new Circle(1), quarter, half)
    expect(packed.definitions.map(({ kind, name }) => `${kind} ${name}`)).toEqual([
      "function half",
      "function quarter",
      "class Shape",
      "function grow",
      "class Circle"
    ])
    const { classes, values } = Definitions.define(packed.definitions, {})
    const Revived = values["Circle"] as typeof Circle
    expect(new Revived(3).grown().radius).toBe(6)
    expect([Revived.count, Revived.scale, Revived.name, new Revived(1).secret]).toEqual([5, 2, "Circle", 1])
    expect(classes.map((one) => one.class.name)).toEqual(["Shape", "Circle"])
  })

  it("know classes with private members, and what derives from them", async () => {
    const { classes } = await pack(Circle, grow, quarter, half)
    expect(classes.map(({ hasPrivates }) => hasPrivates)).toEqual([true, true])
  })

  it("take the bases of a class along, and each only once", async () => {
    expect(await namesOf(Circle, Circle, new Shape(), grow, half, quarter)).toEqual([
      "half",
      "quarter",
      "Shape",
      "grow",
      "Circle"
    ])
  })

  it("leave the user's list alone, and remember nothing of another (a defect of dispy)", async () => {
    const entries = Object.freeze([half, quarter])
    expect((await Effect.runPromise(Depends.pack(entries))).names).toEqual(["half", "quarter"])
    expect((await Effect.runPromise(Depends.pack([]))).names).toEqual([])
    expect(entries).toEqual([half, quarter])
  })

  it("name what a function or class uses that is not in the list", async () => {
    expect((await refusal(quarter)).message).toMatch(/^function quarter uses a variable .*: half \(line 1/)
    const error = await refusal(Circle, half, quarter)
    expect(error.message).toMatch(/^class Circle uses a variable .*: grow \(line \d+.*list them in depends/)
  })

  it("say what is wrong with an entry", async () => {
    const withProperty = Object.assign(() => 1, { cache: 1 })
    Object.defineProperty(withProperty, "name", { value: "withProperty" })
    const [nameless] = [
      class {
        readonly a = 1
      }
    ]
    const twin = { half: () => 2 }.half
    const holder = {
      method() {
        return 1
      }
    }
    class Half {
      [Symbol.for("dispy.encode")]() {
        return 1
      }
    }
    const cases: Array<[ReadonlyArray<unknown>, RegExp]> = [
      [[() => 1], /^an anonymous function cannot be in depends: .*name/],
      [[nameless], /^an anonymous class cannot be in depends: .*name/],
      [[Reflect.construct(nameless, [])], /^an anonymous class cannot be in depends/],
      [[half, twin], /^function half cannot be in depends: there is another of this name/],
      [[{ a: 1 }], /^\{ a: 1 \} cannot be in depends: it is a plain object/],
      [[42], /^42 cannot be in depends/],
      [[null], /^null cannot be in depends/],
      [[[half]], /cannot be in depends: it is neither/],
      [[withProperty], /^function withProperty cannot be sent: its property cache would be lost/],
      [[half.bind(null)], /^function bound half cannot be sent: it is a bound function/],
      [[Math.max], /^function max cannot be sent: it is a native function/],
      [[Reflect.get(holder, "method")], /^function method cannot be sent: it is a method/],
      [[Half], /^class Half cannot be in depends: it has only one of/],
      [[Depends.module("x.ts", "fs")], /^module fs cannot be in depends: Node has a module fs/],
      [[Depends.module("x.ts", "a-b")], /^module a-b cannot be in depends: its name/],
      [[Depends.module("/no/such/file.ts", "stats")], /^there is no module \/no\/such\/file\.ts/]
    ]
    for (const [entries, message] of cases) expect((await refusal(...entries)).message).toMatch(message)
  })

  const forJob = (entries: ReadonlyArray<unknown>, around = Depends.none, isProgram = false) =>
    Depends.packForJob(entries, around, { isProgram, maxFileBytes: 0 })

  it("refuse for a single job what would replace a global, and files and modules that are not there", async () => {
    class Blob {
      readonly size = 1
    }
    const job = (...entries: ReadonlyArray<unknown>) => Effect.runPromise(Effect.flip(forJob(entries)))
    expect((await job(Blob)).message).toMatch(/class Blob cannot be in depends: it would replace a global/)
    expect((await job(Depends.module(import.meta.filename, "fetch"))).message).toMatch(
      /module fetch cannot be in depends: it would replace a global/
    )
    expect((await job("no-such.csv")).message).toMatch(
      /^no-such.csv cannot be sent to the nodes: there is no such file/
    )
    expect((await job(Depends.module("x.ts", "stats"))).message).toMatch(
      /^there is no module x\.ts.*import\.meta\.resolve/
    )
    const again = Depends.module(import.meta.filename, "stats")
    expect((await job(again, again)).message).toMatch(/there is another of the name stats/)
  })

  it("take files and modules along with a job of a program, and no functions", async () => {
    const stats = Depends.module(import.meta.filename, "stats")
    const packed = await Effect.runPromise(forJob([stats, import.meta.filename], Depends.none, true))
    expect([packed.definitions, packed.modules, packed.files !== undefined]).toEqual([[], ["stats"], true])
    const refused = await Effect.runPromise(Effect.flip(forJob([half], Depends.none, true)))
    expect(refused.message).toMatch(/function half cannot be in depends: a program takes files and modules/)
  })

  it("let what a single job takes along use what its computation does", async () => {
    const around = await pack(half)
    const packed = await Effect.runPromise(forJob([quarter], around))
    expect(packed.definitions.map(({ name }) => name)).toEqual(["quarter"])
    const same = await Effect.runPromise(Effect.flip(forJob([half], around)))
    expect(same.message).toMatch(/there is another of this name/)
  })
})
