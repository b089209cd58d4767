/** 150 jobs that use more and more memory, of three kinds; about 4 minutes on two cores. */
import { it } from "vitest"
import { outgrow } from "../support/Outgrowing.ts"

it("kills each of 3 times 50 jobs that outgrow their limit, and lets the other jobs finish", async ({ expect }) => {
  await expect(outgrow(50)).resolves.toEqual({ killed: 150, finished: 150 })
})
