/** Programs that print, a thousand of them; `npm run soak` has a hundred times as many. */
import { afterAll, expect, it } from "vitest"
import { untilIdle } from "../support/Leftovers.ts"
import { runPrinting } from "../support/Programs.ts"

afterAll(untilIdle)

it("gives each of 1,000 programs its own output, byte for byte", async () => {
  await expect(runPrinting(1000)).resolves.toBeUndefined()
})
