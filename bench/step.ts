/** Runs one step and tells its metrics to the parent, `support/StepProcess.ts`. */
import { type StepName, steps } from "./steps.ts"

/** What a step tells. */
export type StepResult =
  | { readonly metrics: Record<string, number> }
  | { readonly error: string }

const tell = (result: StepResult): void => {
  process.send!(result, () => process.exit("error" in result ? 1 : 0))
}

// When the parent is gone, nobody wants to know; the exit ends the daemons too.
process.on("disconnect", () => process.exit(1))

const [name, quick] = process.argv.slice(2) as [StepName, string]
try {
  const { measure } = await steps[name]()
  tell({ metrics: await measure({ isQuick: quick === "quick" }) })
} catch (error) {
  tell({ error: error instanceof Error ? error.stack ?? error.message : String(error) })
}
