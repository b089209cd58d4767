/** 100,000 guesses of a node's secret, and what the time of a comparison tells; about 2 minutes on two cores. */
import { describe, expect, it } from "@effect/vitest"
import { Effect } from "effect"
import { createHmac, randomBytes } from "node:crypto"
import * as fs from "node:fs"
import * as path from "node:path"
import * as Datagram from "../../src/domain/discovery/Datagram.ts"
import * as DaemonClient from "../support/DaemonClient.ts"
import * as DaemonProcess from "../support/DaemonProcess.ts"
import { derived } from "../support/DerivedSecret.ts"
import { inParallel, makeRandom } from "../support/HostileFrames.ts"
import { aSecret, guess } from "../support/Secrets.ts"

const tries = 100_000

describe("guesses", () => {
  it.live(
    "of a secret are 60 a minute of 100,000, and whoever knows it is let in soon after",
    () =>
      Effect.gen(function*() {
        const directory = yield* DaemonProcess.aDirectory
        const file = path.join(directory, "secret")
        const text = randomBytes(16).toString("hex")
        fs.writeFileSync(file, text, { mode: 0o600 })
        const daemon = yield* DaemonProcess.start([
          "--port",
          "0",
          "--cpus",
          "1",
          "--secret-file",
          file,
          "--ip-addr",
          "127.0.0.1"
        ])
        const address = DaemonClient.tcp(yield* daemon.ready)
        const port = address._tag === "Tcp" ? address.port : 0
        const heard = { answered: 0, refused: 0, broken: 0, letIn: 0 }
        const start = performance.now()
        yield* Effect.promise(() =>
          inParallel(tries, 50, async () => {
            const said = await Effect.runPromise(guess(port, aSecret(2)))
            if (said === "let in") heard.letIn++
            else if (/the secrets differ/.test(said)) heard.answered++
            else if (/too many handshakes/.test(said)) heard.refused++
            else heard.broken++
          })
        )
        const seconds = (performance.now() - start) / 1000
        process.stdout.write(`guesses in ${seconds.toFixed(0)} s: ${JSON.stringify(heard)}\n`)
        expect(heard.letIn).toBe(0)
        expect(heard.answered).toBeLessThanOrEqual(61 + seconds)
        expect(heard.refused).toBeGreaterThan(tries * 0.9)
        const after = performance.now()
        while (yield* Effect.map(guess(port, derived(text)), (said) => said !== "let in"));
        expect(performance.now() - after).toBeLessThan(5000)
      }),
    600_000
  )

  it("of a signature take the same time wherever they differ (Welch's t below 4.5)", () => {
    const key = randomBytes(32)
    const hmac: Datagram.Mac = (bytes) => createHmac("sha256", key).update(bytes).digest()
    const signed = Datagram.encode({ _tag: "Ping", answerAt: [] }, { nonce: "0".repeat(32), sentAtMillis: 1 }, hmac)
    const right = signed.slice(7, 39)
    // The comparison alone: the signature would be most of the time, and the same in both.
    const known: Datagram.Mac = () => right
    const first = signed.slice()
    first[7]! ^= 1
    const last = signed.slice()
    last[38]! ^= 1
    const seed = randomBytes(4).readUInt32LE()
    process.stdout.write(`seed ${seed}\n`)
    const random = makeRandom(seed)
    const times: [Array<number>, Array<number>] = [[], []]
    const measure = (kind: 0 | 1): number => {
      const bytes = kind === 0 ? first : last
      const start = process.hrtime.bigint()
      for (let n = 0; n < 20; n++) Datagram.decode(bytes, known)
      return Number(process.hrtime.bigint() - start)
    }
    for (let n = 0; n < 20_000; n++) measure(n % 2 === 0 ? 0 : 1)
    for (let n = 0; n < 200_000; n++) {
      const kind = random(2) === 0 ? 0 : 1
      times[kind].push(measure(kind))
    }
    // What interrupted the measurement is no part of it.
    const cut = [...times[0], ...times[1]].toSorted((a, b) =>
      a - b
    )[Math.floor((times[0].length + times[1].length) * 0.9)]!
    const [a, b] = times.map((all) => {
      const kept = all.filter((one) => one <= cut)
      const mean = kept.reduce((sum, one) => sum + one, 0) / kept.length
      const variance = kept.reduce((sum, one) => sum + (one - mean) ** 2, 0) / (kept.length - 1)
      return { mean, error: variance / kept.length }
    }) as [{ mean: number; error: number }, { mean: number; error: number }]
    const t = Math.abs(a.mean - b.mean) / Math.sqrt(a.error + b.error)
    process.stdout.write(`Welch's t ${t.toFixed(2)}, means ${a.mean.toFixed(1)} and ${b.mean.toFixed(1)} ns\n`)
    expect(t).toBeLessThan(4.5)
  }, 300_000)
})
