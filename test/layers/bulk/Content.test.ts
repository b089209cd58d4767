/** Content on its way out, over streams that take little. */
import { assert, it } from "@effect/vitest"
import { mkdtempSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { Duplex } from "node:stream"
import * as BulkFrames from "../../../src/domain/transfer/BulkFrames.ts"
import * as BulkPeer from "../../../src/layers/bulk/BulkPeer.ts"
import * as Content from "../../../src/layers/bulk/Content.ts"
import type * as FileTransfer from "../../../src/services/FileTransfer.ts"

/** A peer whose writes are collected, and end when `take` is called. */
const aPeer = () => {
  const written: Array<Buffer> = []
  let done: (() => void) | undefined
  const stream = new Duplex({
    read: () => {},
    write: (chunk: Buffer, _, next) => {
      written.push(Buffer.from(chunk))
      done = next
    }
  })
  const peer = BulkPeer.make(BulkPeer.wireOf(stream), BulkPeer.makeWindow(), () => ({
    onFrame: () => true,
    onData: () => true,
    onClose: () => {}
  }))
  const take = (): void => {
    const next = done
    done = undefined
    next?.()
  }
  return { peer, take, written }
}

/** The data of frames, and how many there are. */
const dataOf = (bytes: Buffer): readonly [Buffer, number] => {
  const parts: Array<Buffer> = []
  for (let at = 0; at < bytes.length;) {
    const size = bytes.readUInt32LE(at + 1)
    const start = at + BulkFrames.headerBytes
    if (bytes[at] === BulkFrames.Frame.data) parts.push(bytes.subarray(start, start + size))
    at = start + size
  }
  return [Buffer.concat(parts), parts.length]
}

const withFile = async (size: number, run: (content: FileTransfer.Content, bytes: Buffer) => Promise<void>) => {
  const directory = mkdtempSync(join(tmpdir(), "dispy-content-"))
  const path = join(directory, "file")
  const bytes = Buffer.from(Array.from({ length: size }, (_, i) => (i * 7 + (i >> 8)) & 0xff))
  writeFileSync(path, bytes)
  try {
    await run({ _tag: "File", path, sizeBytes: size }, bytes)
  } finally {
    rmSync(directory, { recursive: true })
  }
}

const sending = (): Content.Sending => ({ isStopped: false, onProgress: () => {} })

it("arrives as it is, in frames as small as the window wants them, from any offset", () =>
  withFile(40_000, async (content, bytes) => {
    for (const offset of [0, 1, 12_345, 39_999, 40_000]) {
      const { peer, take, written } = aPeer()
      peer.shared.window.size = 1 << 20
      const timer = setInterval(take, 0)
      await Content.send(peer, content, offset, sending())
      while (peer.stream.writableLength > 0) await new Promise((resolve) => setImmediate(resolve))
      clearInterval(timer)
      const [data] = dataOf(Buffer.concat(written))
      assert.isTrue(data.equals(bytes.subarray(offset)), `from ${offset}`)
    }
  }))

it("waits while the stream takes nothing, and ends with the connection", () =>
  withFile(1_500_000, async (content) => {
    const { peer, written } = aPeer()
    peer.shared.window.size = 16 << 20
    const sent = Content.send(peer, content, 0, sending())
    while (written.length === 0) await new Promise((resolve) => setImmediate(resolve))
    await new Promise((resolve) => setTimeout(resolve, 20))
    assert.isBelow(peer.sent, 600_000)
    BulkPeer.close(peer, "enough")
    await sent
  }))
