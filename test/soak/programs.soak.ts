/** 100,000 programs with output; about 5 minutes on two cores. */
import { it } from "vitest"
import { runPrinting } from "../support/Programs.ts"

it("gives each of 100,000 programs its own output, byte for byte", async ({ expect }) => {
  await expect(runPrinting(100_000)).resolves.toBeUndefined()
})
