/** The recover file of a client that runs: when it is there, who can read it, what it says, and when it goes. */
import { describe, expect, it } from "@effect/vitest"
import { Effect, Exit, Layer, Logger, Result, Scope } from "effect"
import * as fs from "node:fs"
import * as os from "node:os"
import { join } from "node:path"
import { afterEach, beforeEach, vi } from "vitest"
import * as RecoverFile from "../../../src/domain/recovery/RecoverFile.ts"
import * as RecoverLogFile from "../../../src/layers/recovery/RecoverLogFile.ts"
import { RecoverLog } from "../../../src/services/RecoverLog.ts"

let directory = ""

beforeEach(() => {
  directory = fs.mkdtempSync(join(os.tmpdir(), "dispy-recover-log-test-"))
})

afterEach(() => {
  vi.restoreAllMocks()
  fs.rmSync(directory, { recursive: true })
})

const place = () => join(directory, "recover")

const options = (file: string | undefined): RecoverLogFile.RecoverLogOptions => ({
  file,
  client: "me@here, process 1",
  credentials: { secretFile: "/home/me/secret" },
  nodeList: ["alpha"],
  isSynced: false
})

const open = (file: string | undefined) =>
  Effect.map(Layer.build(RecoverLogFile.layer(options(file))), (context) => context.pipe((all) => all)).pipe(
    Effect.flatMap((context) => Effect.provideContext(RecoverLog, context))
  )

const read = (file: string) => Result.getOrThrow(RecoverFile.read(fs.readFileSync(file)))

const node = { host: "alpha", port: 51348, name: "a" }

describe("a recover file", () => {
  it.effect("is there with all that is needed when a node is leased, and not before; it goes with the scope", () =>
    Effect.gen(function*() {
      const log = yield* open(place())
      yield* log.opened({ id: "c", name: "compute", mayRunTwice: false })
      expect(fs.readdirSync(directory)).toEqual([])
      const key = yield* log.key
      yield* log.leased(node)
      yield* log.opened({ id: "d", name: "later", mayRunTwice: true })
      expect(read(place())).toMatchObject({
        header: { recoverKey: key, client: "me@here, process 1", credentials: { secretFile: "/home/me/secret" } },
        nodes: new Map([["alpha:51348", { ...node, _tag: "Node" }]]),
        problems: []
      })
      expect([...read(place()).computations.values()].map(({ mayRunTwice, name }) => [name, mayRunTwice]))
        .toEqual([["compute", false], ["later", true]])
      expect(yield* log.key).toBe(key)
      expect(key?.length).toBeGreaterThan(40)
    }).pipe(
      Effect.scoped,
      Effect.andThen(Effect.sync(() => expect(fs.readdirSync(directory)).toEqual([])))
    ))

  it.effect("is its owner's alone, whatever the mask", () =>
    Effect.gen(function*() {
      for (const mask of [0, 0o777]) {
        const before = process.umask(mask)
        const log = yield* open(place() + mask).pipe(Effect.tap(({ key }) => key))
        process.umask(before)
        expect(fs.statSync(place() + mask).mode & 0o777).toBe(0o600)
        expect(yield* log.key).toBeDefined()
      }
    }).pipe(Effect.scoped))

  it.effect("has a name of its own in the current directory where none is given", () =>
    Effect.gen(function*() {
      vi.spyOn(process, "cwd").mockReturnValue(directory)
      for (let i = 0; i < 3; i++) yield* Effect.flatMap(open(undefined), ({ key }) => key)
      const names = fs.readdirSync(directory)
      expect(new Set(names).size).toBe(3)
      for (const name of names) expect(name).toMatch(/^_dispy_\d{14}(-[23])?$/)
    }).pipe(Effect.scoped))

  it.effect("is refused at once where it cannot be, with the option's name and what to do", () =>
    Effect.gen(function*() {
      const problem = (file: string) => Effect.map(Effect.flip(open(file)), ({ message }) => message)
      expect(yield* problem(join(directory, "none", "recover"))).toMatch(
        /^option recoverFile: .*none\/recover: it cannot be written: ENOENT/
      )
      fs.writeFileSync(place(), "of a program that died")
      expect(yield* problem(place())).toContain("get its results with `dispy recover`")
      expect(fs.readFileSync(place(), "utf8")).toBe("of a program that died")
    }).pipe(Effect.scoped))

  it.effect("is done without, with one warning, where the current directory cannot be written", () => {
    const messages: Array<string> = []
    return Effect.gen(function*() {
      vi.spyOn(process, "cwd").mockReturnValue(join(directory, "none"))
      const log = yield* open(undefined)
      expect([yield* log.key, yield* log.key]).toEqual([undefined, undefined])
      yield* log.leased(node)
      expect(messages).toHaveLength(1)
      expect(messages[0]).toMatch(/^recover file .*_dispy_… cannot be written \(ENOENT.*set recoverFile to/)
    }).pipe(
      Effect.scoped,
      Effect.provide(Logger.layer([Logger.make(({ message }) => void messages.push(String(message)))]))
    )
  })

  it.effect("goes when the scope is closed by an interruption, and stays with a process that never closes it", () =>
    Effect.gen(function*() {
      const scope = yield* Scope.make()
      const log = yield* Scope.provide(open(place()), scope)
      yield* log.key
      expect(fs.existsSync(place())).toBe(true)
      yield* Scope.close(scope, Exit.interrupt(0))
      expect(fs.existsSync(place())).toBe(false)
    }))
})
