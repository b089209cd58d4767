/** `map`: any iterable in, results out in order and in constant memory; here the lines of a log that is endless. */
import { createJobCluster } from "dispy/promise"
import { createHash } from "node:crypto"

/** Runs on the nodes: the number that makes a line's hash begin with four zeros. */
async function mine(line: string) {
  const crypto = await import("node:crypto")
  for (let nonce = 0;; nonce++) {
    if (crypto.createHash("sha256").update(line + nonce).digest("hex").startsWith("0000")) return { line, nonce }
  }
}

/** Read only as fast as the nodes are. */
async function* lines() {
  for (let number = 1;; number++) yield `line ${number} `
}

await using cluster = await createJobCluster(mine)
let count = 0
for await (const { line, nonce } of cluster.map(lines())) {
  console.log(createHash("sha256").update(line + nonce).digest("hex").slice(0, 16), line + nonce)
  if (++count === 10) break
}
