/** Files both ways: the jobs find a file of this machine in their directory and send files back. */
import type {} from "dispy/job"
import { createJobCluster } from "dispy/promise"
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises"
import { tmpdir } from "node:os"
import { join } from "node:path"

/** Runs on the nodes, in a directory that has the file. */
async function countWords(letter: string) {
  const { readFile: read, writeFile: write } = await import("node:fs/promises")
  const words = (await read("words.txt", "utf8")).split(/\s+/).filter((word) => word.startsWith(letter))
  const report = `words-with-${letter}.txt`
  await write(report, words.join("\n"))
  await dispy.sendFile(report)
  return words.length
}

const directory = await mkdtemp(join(tmpdir(), "dispy-example-"))
await writeFile(join(directory, "words.txt"), "apple avocado banana cherry apricot blueberry")
try {
  await using cluster = await createJobCluster(countWords, {
    depends: [join(directory, "words.txt")],
    filesDirectory: directory,
    onFile: ({ path, sizeBytes }) => console.error(`${path}: ${sizeBytes} bytes`)
  })
  for (const letter of ["a", "b", "c"]) {
    const count = await cluster.run(letter)
    const words = await readFile(join(directory, `words-with-${letter}.txt`), "utf8")
    console.log(`${count} with ${letter}: ${words.replaceAll("\n", ", ")}`)
  }
} finally {
  await rm(directory, { recursive: true })
}
