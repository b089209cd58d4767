import { describe, expect, it } from "@effect/vitest"
import { execFile } from "node:child_process"
import { decode, decodeArgs, encode, InvalidValue } from "../../src/slot/Values.ts"

describe("ValueReader", () => {
  it("refuses lengths that the bytes cannot hold before making room for them", () => {
    const bombs = [
      [0xd1, 0xed, 0xff, 0xff, 0xff, 0xff, 0x0f], // an array of 2^32 items
      [0xd1, 0xee, 3, 0xff, 0xff, 0xff, 0xff, 0x0f], // as many doubles
      [0xd1, 0xf0, 0xff, 0xff, 0xff, 0xff, 0x0f],
      [0xd1, 0xf5, 0xff, 0xff, 0xff, 0xff, 0x0f],
      [0xd1, 0xea, 0xff, 0xff, 0xff, 0x7f],
      [0xd1, 0xfa, 0, 0xff, 0xff, 0xff, 0xff, 0xff, 0x0f],
      [0xd1, 0xfb, 0, 0xff, 0xff, 0xff, 0xff, 0xff, 0x0f],
      [0xd1, 0xe9, 0, 0xff, 0xff, 0xff, 0xff, 0x0f],
      [0xd1, 0xed, ...new Array(9).fill(0xff), 1],
      [0xd1, 0xec, 0], // a reference to nothing
      [0xd1, 0xc1, 0xec, 9],
      [0xd1, 0xff],
      [0xd1],
      [],
      [0xd0, 0],
      [0xd1, 0, 0]
    ]
    for (const bomb of bombs) expect(() => decode(Uint8Array.from(bomb))).toThrow(InvalidValue)
    const holes = decode(Uint8Array.from([0xd1, 0xef, 0xff, 0xff, 0xff, 0xff, 0x0f, 0])) as Array<unknown>
    expect(holes.length).toBe(2 ** 32 - 1)
  })

  it("throws an Error, and nothing worse, for 20,000 damaged messages", async () => {
    const url = new URL("../../src/slot/Values.ts", import.meta.url).href
    const script = `
      import { decode, encode } from ${JSON.stringify(url)}
      const { InvalidValue } = await import(${JSON.stringify(url)})
      let state = 20260728
      const random = (n) => { state = (Math.imul(state, 1664525) + 1013904223) >>> 0; return Math.floor(state / 4294967296 * n) }
      const shared = { a: 1 }, memory = new ArrayBuffer(32), sparse = [1]
      sparse[900] = 2
      sparse.note = "x"
      let deep = { a: 1 }
      for (let i = 0; i < 250; i++) deep = i % 3 ? [deep] : { a: deep }
      const corpus = [
        1, "text", [1, 2, 3], { a: 1, b: [true, null] }, new Map([[1, { x: 1 }], ["k", [shared, shared]]]),
        new Set([1n, 2n ** 80n]), [/a+b/g, new Date(), Object(1)], sparse, new TypeError("m", { cause: shared }),
        new AggregateError([1], "m"), [new Uint8Array(memory, 1, 3), memory], new Float64Array(4), Buffer.from("abc"),
        new DOMException("m", "AbortError"), Array.from({ length: 20 }, (_, i) => ({ id: i, name: "n" + i })),
        Array.from({ length: 50 }, (_, i) => i / 3), new ArrayBuffer(8, { maxByteLength: 16 }), deep, "\\ud800", "ä".repeat(90)
      ].map((value) => encode(value))
      let valid = 0, invalid = 0
      for (let i = 0; i < 20000; i++) {
        let bytes = Uint8Array.from(corpus[random(corpus.length)])
        switch (random(5)) {
          case 0: bytes = bytes.subarray(0, random(bytes.length)); break
          case 1: for (let n = 1 + random(4); n > 0; n--) bytes[1 + random(bytes.length - 1)] ^= 1 << random(8); break
          case 2: for (let n = 1 + random(4); n > 0; n--) bytes[1 + random(bytes.length - 1)] = 0xe0 + random(32); break
          case 3: bytes = Uint8Array.from([0xd1, ...Array.from({ length: random(60) }, () => random(256))]); break
          case 4: { const at = 1 + random(bytes.length), to = random(2) ? 255 : random(256)
            bytes = Uint8Array.from([...bytes.subarray(0, at), 255, 255, 255, to, to, 15, ...bytes.subarray(at)]); break }
        }
        try { decode(bytes); valid++ } catch (error) {
          if (!(error instanceof InvalidValue)) throw error
          invalid++
        }
      }
      if (Object.keys(Object.prototype).length > 0) throw new Error("polluted")
      console.log(JSON.stringify({ valid, invalid, mebibytes: process.resourceUsage().maxRSS / 1024 }))
    `
    const output = await new Promise<string>((resolve, reject) => {
      const args = ["--max-old-space-size=64", "--input-type=module", "--no-warnings", "-e", script]
      execFile(
        process.execPath,
        args,
        { timeout: 60_000 },
        (error, stdout, stderr) => error ? reject(new Error(`${error.message}\n${stderr}`)) : resolve(stdout)
      )
    })
    const { invalid, mebibytes, valid } = JSON.parse(output)
    expect(valid + invalid).toBe(20_000)
    expect(invalid).toBeGreaterThan(5_000)
    expect(mebibytes).toBeLessThan(300)
  }, 90_000)

  it("refuses arguments that are no array", () => {
    expect(() => decodeArgs(encode({ 0: 1, length: 1 }))).toThrow(InvalidValue)
  })
})
