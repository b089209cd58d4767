import { expect, it } from "vitest"
import { decodeSlotDeath, encodeSlotDeath } from "../../../src/domain/wire/SlotDeath.ts"

it("says how a slot ended, in any script", () => {
  const death = { reason: "uncaught exception: Error: schöne 😀\n", exitCode: 1, signal: null, lastStderr: "\u0000ü" }
  expect(decodeSlotDeath(encodeSlotDeath(death))).toEqual(death)
})

it("reads what a job forged as an end without details", () => {
  const unknown = { reason: "the slot process ended", exitCode: null, signal: null, lastStderr: "" }
  const texts = ["", "{", "null", "[]", "{\"reason\":5,\"exitCode\":\"1\",\"signal\":[],\"lastStderr\":{}}"]
  for (const forged of texts) expect(decodeSlotDeath(new TextEncoder().encode(forged))).toEqual(unknown)
})
