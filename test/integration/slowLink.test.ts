/** Bulk transfers over a link of 1 MB/s: what else goes over it passes in time. */
import { randomBytes } from "node:crypto"
import * as fs from "node:fs"
import { mkdtemp, rm } from "node:fs/promises"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { afterAll, beforeAll, describe, expect, it } from "vitest"
import { createJobCluster } from "../../src/promise.ts"
import { untilIdle } from "../support/Leftovers.ts"
import * as SlowLink from "../support/SlowLink.ts"

const missing = SlowLink.missing()
let home = ""

beforeAll(async () => {
  home = await mkdtemp(join(tmpdir(), "dispy-slow-"))
})

afterAll(async () => {
  await rm(home, { recursive: true, force: true })
  await untilIdle()
})

describe.skipIf(missing !== undefined)(`over 1 MB/s${missing === undefined ? "" : ` (left out: ${missing})`}`, () => {
  it("a job takes less than half a second while a file goes over it, and that uses the link", async () => {
    const node = await SlowLink.start("8mbit", home)
    try {
      const size = 5_000_000
      fs.writeFileSync(join(home, "there"), randomBytes(size))
      await using cluster = await createJobCluster(async (what: string) => {
        if (what === "nothing") return 0
        const { writeFileSync } = await import("node:fs")
        const { randomBytes: random } = await import("node:crypto")
        writeFileSync("back", random(3_000_000))
        void dispy.sendFile("back")
        return 1
      }, { nodes: node.address, filesDirectory: join(home, "got") })
      await cluster.run("nothing")
      const start = performance.now()
      const state = { isDone: false }
      const sending = cluster.sendFile(join(home, "there"), node.address).then(() => {
        state.isDone = true
      })
      const longest = async (): Promise<number> => {
        let millis = 0
        while (!state.isDone) {
          const since = performance.now()
          await cluster.run("nothing")
          millis = Math.max(millis, performance.now() - since)
        }
        return millis
      }
      expect(await longest()).toBeLessThan(500)
      await sending
      const rate = size / ((performance.now() - start) / 1000)
      expect(rate).toBeGreaterThan(600_000)
      await cluster.run("file")
      expect(fs.statSync(join(home, "got", "back")).size).toBe(3_000_000)
    } finally {
      await node.stop()
    }
  })
})
