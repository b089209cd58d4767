/** Many programs that print: what each printed comes back with its own job, byte for byte. */
import { chmod, mkdtemp, rm, writeFile } from "node:fs/promises"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { createJobCluster } from "../../src/promise.ts"

/** Prints a little more than 1 KiB to each of its outputs, in turns; what it prints depends on its argument. */
const script = `#!/bin/sh
for line in 0 1 2 3 4 5 6 7; do
  printf '%s out %d %0118d\\n' "$1" $line 0
  printf '%s err %d %0118d\\n' "$1" $line 1 >&2
done
exit $(($1 % 7))
`

const expected = (name: string, index: number): string =>
  Array.from(
    { length: 8 },
    (_, line) => `${index} ${name} ${line} ${(name === "out" ? "0" : "1").padStart(118, "0")}\n`
  ).join("")

/** Runs `count` of them on two slots; throws at the first whose output or exit status is not its own. */
export const runPrinting = async (count: number): Promise<void> => {
  const folder = await mkdtemp(join(tmpdir(), "dispy-programs-"))
  try {
    const program = join(folder, "print.sh")
    await writeFile(program, script)
    await chmod(program, 0o755)
    await using cluster = await createJobCluster(program, { cpus: 2 })
    const window = 200
    let next = 0
    const worker = async (): Promise<void> => {
      while (next < count) {
        const index = next++
        const job = cluster.submit(String(index))
        const status = await job.result()
        if (status !== index % 7) throw new Error(`program ${index} has exit status ${status}`)
        if (job.stdout !== expected("out", index)) throw new Error(`program ${index} printed ${job.stdout}`)
        if (job.stderr !== expected("err", index)) throw new Error(`program ${index} printed to stderr ${job.stderr}`)
      }
    }
    await Promise.all(Array.from({ length: window }, worker))
  } finally {
    await rm(folder, { recursive: true })
  }
}
