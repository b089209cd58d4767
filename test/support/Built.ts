/** The programs of the package as users run them: built. */
import { spawnSync } from "node:child_process"
import { globSync, statSync } from "node:fs"
import { fileURLToPath } from "node:url"

const root = fileURLToPath(new URL("../../", import.meta.url))

/** File of a program. */
export const program = (name: "dispy" | "dispynode" | "dispynetrelay"): string => `${root}dist/programs/${name}.js`

const newest = (pattern: string): number =>
  Math.max(0, ...globSync(pattern, { cwd: root }).map((file) => statSync(`${root}${file}`).mtimeMs))

/** Builds the package before the first test if its sources have changed since. */
export const setup = (): void => {
  const bundled = newest("dist/programs/*/*Main.js")
  if (bundled > 0 && bundled >= newest("src/**/*.ts") && bundled >= newest("scripts/*.ts")) return
  const { status } = spawnSync("npm", ["run", "--silent", "build"], { cwd: root, stdio: "inherit" })
  if (status !== 0) throw new Error("the package cannot be built; run `npm run build` to see why")
}
