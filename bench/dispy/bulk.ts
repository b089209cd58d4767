/**
 * Files and large values over bulk connections, SHA-256 included: both ways, again (nothing is sent), many small ones,
 * values of 200 MB. Files lie on `/dev/shm` where there is one: the disk has a figure of its own.
 */
import type { DispyGlobal } from "dispy/job"
import { createJobCluster } from "dispy/promise"
import { createHash } from "node:crypto"
import * as fs from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import * as Daemon from "../support/Daemon.ts"
import type { Metrics, StepOptions } from "../support/Drive.ts"
import { quantile } from "../support/Statistics.ts"

const mebibyte = 1024 * 1024
const memory = fs.existsSync("/dev/shm") ? "/dev/shm" : tmpdir()

const fill = (file: string, bytes: number): void => {
  const chunk = Buffer.alloc(mebibyte)
  const fd = fs.openSync(file, "w")
  for (let at = 0; at < bytes; at += mebibyte) {
    chunk.writeDoubleLE(at)
    fs.writeSync(fd, chunk)
  }
  fs.closeSync(fd)
}

const secondsOf = async (run: () => Promise<unknown>): Promise<number> => {
  const start = performance.now()
  await run()
  return (performance.now() - start) / 1000
}

/** MiB per second that the disk under the temporary directory takes in new files. */
const diskSpeed = (isQuick: boolean): number => {
  const file = join(tmpdir(), `dispy-bench-disk-${process.pid}`)
  const size = isQuick ? 100 : 500
  const start = performance.now()
  fill(file, size * mebibyte)
  const fd = fs.openSync(file, "r+")
  fs.fdatasyncSync(fd)
  fs.closeSync(fd)
  const speed = size / ((performance.now() - start) / 1000)
  fs.rmSync(file)
  return speed
}

const hashSpeed = (): number => {
  const chunk = Buffer.alloc(mebibyte)
  const hash = createHash("sha256")
  const start = performance.now()
  for (let i = 0; i < 512; i++) hash.update(chunk)
  hash.digest()
  return 512 / ((performance.now() - start) / 1000)
}

/** Runs on the node, where the global is. */
const sendBack = async (name: string): Promise<number> =>
  await (globalThis as unknown as { readonly dispy: DispyGlobal }).dispy.sendFile(name)

/** MiB per second of a file there and back, of three times: memory that the machine never used before is slow to get. */
const both = async (address: string, directory: string, size: number): Promise<readonly [number, number]> => {
  const file = join(directory, `of-${size}`)
  fill(file, size * mebibyte)
  await using cluster = await createJobCluster(sendBack, { nodes: address, filesDirectory: join(directory, "got") })
  // The connection, and code that is warm.
  fill(join(directory, "warm"), 64 * mebibyte)
  for (let i = 0; i < 3; i++) await cluster.sendFile(join(directory, "warm"), address)
  for (let i = 0; i < 3; i++) await cluster.run("warm")
  const there: Array<number> = []
  const back: Array<number> = []
  for (let i = 0; i < 3; i++) {
    there.push(size / (await secondsOf(() => cluster.sendFile(file, address))))
    back.push(size / (await secondsOf(() => cluster.run(`of-${size}`))))
  }
  if (fs.statSync(join(directory, "got", `of-${size}`)).size !== size * mebibyte) throw new Error("not the same size")
  fs.rmSync(file)
  fs.rmSync(join(directory, "got"), { recursive: true })
  return [quantile(there, 0.5), quantile(back, 0.5)]
}

/** Small files per second, and bytes that the second transfer of the same content sends. */
const many = async (address: string, directory: string, count: number): Promise<readonly [number, number]> => {
  const small = join(directory, "small")
  fs.mkdirSync(small)
  for (let i = 0; i < count; i++) fs.writeFileSync(join(small, String(i)), Buffer.alloc(10_240, `${i},`))
  const options = { nodes: address, depends: [small], destPath: "bench", cleanup: false }
  let bytes = 0
  const open = async (more: object = {}): Promise<void> => {
    const cluster = await createJobCluster(() => 0, { ...options, ...more })
    bytes = cluster.status().nodes[0]!.transferred.bytes
    await cluster.close()
  }
  const seconds = await secondsOf(() => open())
  if (bytes !== count * 10_240) throw new Error(`${bytes} bytes were sent`)
  await open({ cleanup: true })
  fs.rmSync(small, { recursive: true })
  return [count / seconds, bytes]
}

/** MiB per second of a value there and back. */
const values = async (address: string, size: number): Promise<readonly [number, number]> => {
  await using take = await createJobCluster((bytes: Uint8Array) => bytes.length, { nodes: address })
  const bytes = new Uint8Array(size * mebibyte)
  await take.run(bytes.subarray(0, 8 * mebibyte))
  const there = size / (await secondsOf(() => take.run(bytes)))
  await using give = await createJobCluster((length: number) => new Uint8Array(length), { nodes: address })
  await give.run(8 * mebibyte)
  const back = size / (await secondsOf(() => give.run(size * mebibyte)))
  return [there, back]
}

/** All of it. */
export const measure = async ({ isQuick }: StepOptions): Promise<Metrics> => {
  const directory = fs.mkdtempSync(join(memory, "dispy-bench-"))
  process.env["TMPDIR"] = directory
  try {
    await using daemon = await Daemon.start(2)
    const { address } = daemon
    const [put100, get100] = await both(address, directory, 100)
    const [put1000, get1000] = await both(address, directory, isQuick ? 300 : 1000)
    const [filesRate, againBytes] = await many(address, directory, isQuick ? 2000 : 10_000)
    const [valueThere, valueBack] = await values(address, 200)
    process.env["TMPDIR"] = "/tmp"
    const [hash, disk] = [hashSpeed(), diskSpeed(isQuick)]
    return { put100, get100, put1000, get1000, filesRate, againBytes, valueThere, valueBack, hash, disk }
  } finally {
    fs.rmSync(directory, { recursive: true, force: true })
  }
}
