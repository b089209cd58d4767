import { expect, it } from "@effect/vitest"
import { Effect, Fiber } from "effect"
import * as Gate from "../../../src/layers/testing/Gate.ts"

it("lets those through that wait, in the order of their coming, when it opens", () => {
  const gate = Gate.make()
  const gone: Array<number> = []
  Gate.pass([gate], () => gone.push(0))
  Gate.set(gate, false)
  Gate.pass([gate], () => gone.push(1))
  const takeBack = Gate.pass([gate], () => gone.push(2))
  Gate.pass([gate], () => gone.push(3))
  takeBack()
  expect(gone).toEqual([0])
  Gate.set(gate, true)
  expect(gone).toEqual([0, 1, 3])
})

it("is passed with others only while all of them are open", () => {
  const [first, second] = [Gate.make(), Gate.make()]
  Gate.set(first, false)
  Gate.set(second, false)
  let isThrough = false
  const takeBack = Gate.pass([first, second], () => {
    isThrough = true
  })
  Gate.set(first, true)
  Gate.set(first, false)
  Gate.set(second, true)
  expect(isThrough).toBe(false)
  Gate.set(first, true)
  expect(isThrough).toBe(true)
  takeBack()
})

it.effect("is no longer waited for by fibers that are interrupted", () =>
  Effect.gen(function*() {
    const gate = Gate.make()
    Gate.set(gate, false)
    const fiber = yield* Effect.forkChild(Gate.open([gate]), { startImmediately: true })
    expect(gate.waiting.size).toBe(1)
    yield* Fiber.interrupt(fiber)
    expect(gate.waiting.size).toBe(0)
  }))
