/**
 * Renders a large picture of the Mandelbrot set, tile by tile, on every core of this machine or of the nodes given;
 * then measures how much faster that was than one core.
 */
import { Computation, createJobCluster } from "dispy/promise"
import { constants } from "node:fs"
import { access, writeFile } from "node:fs/promises"
import { dirname, resolve } from "node:path"
import { parseArgs } from "node:util"
import { PNG } from "pngjs"
import type { render, Tile, View } from "./mandelbrot/tile.ts"
import { main, UsageError } from "./support/main.ts"
import * as Progress from "./support/progress.ts"

const usage = "node examples/mandelbrot.ts [FILE] [--size WIDTHxHEIGHT] [--node HOST[:PORT] ...]"

const readArguments = () => {
  const { positionals, values } = parseArgs({
    allowPositionals: true,
    options: { size: { type: "string", default: "3840x2160" }, node: { type: "string", multiple: true } }
  })
  if (positionals.length > 1) throw new UsageError(`it writes one file, not ${positionals.length}`)
  const [width = 0, height = 0] = /^\d+x\d+$/.test(values.size) ? values.size.split("x").map(Number) : []
  if (width < 1 || height < 1 || width * height > 2 ** 27) {
    throw new UsageError(`--size ${values.size} is not a size; write it like 3840x2160, up to 134 million pixels`)
  }
  return { file: positionals[0] ?? "mandelbrot.png", width, height, nodes: values.node ?? ["local"] }
}

/** Rectangles that cover the picture. */
const tilesOf = (view: View): ReadonlyArray<Tile> => {
  const [width, height] = [160, 135]
  const tiles: Array<Tile> = []
  for (let top = 0; top < view.height; top += height) {
    for (let left = 0; left < view.width; left += width) {
      const right = Math.min(left + width, view.width)
      const bottom = Math.min(top + height, view.height)
      tiles.push({ view, left, top, width: right - left, height: bottom - top })
    }
  }
  return tiles
}

// An ordinary module: it is bundled with what it imports and sent to every node once.
const computation = Computation.fromModule<typeof render>(new URL("./mandelbrot/tile.ts", import.meta.url), "render")

const seconds = (millis: number): string => `${(millis / 1000).toFixed(1)} s`

/** Renders the tiles on these nodes; how long that took, and how many steps each tile. */
const renderOn = async (
  where: { readonly nodes: ReadonlyArray<string>; readonly cpus?: number },
  title: string,
  tiles: ReadonlyArray<Tile>,
  signal: AbortSignal,
  use: (tile: Tile, pixels: Uint8Array) => void
) => {
  await using cluster = await createJobCluster(computation, where)
  using progress = Progress.start(title, "tiles", tiles.length)
  const steps: Array<number> = []
  const startedAt = performance.now()
  for await (const done of cluster.map(tiles, { signal })) {
    use(tiles[steps.length]!, done.pixels)
    steps.push(done.steps)
    progress.advance(1)
  }
  const millis = performance.now() - startedAt
  return {
    millis,
    steps,
    slots: cluster.status().nodes.reduce((sum, node) => sum + node.cpus, 0),
    table: cluster.statusTable()
  }
}

await main(usage, async (signal) => {
  const { file, height, nodes, width } = readArguments()
  // Better to hear of it now than when the picture is done.
  await access(dirname(resolve(file)), constants.W_OK)

  const view: View = { centre: [-0.74364398, 0.13182595], span: 6e-5, width, height, iterations: 3000, samples: 2 }
  const tiles = tilesOf(view)
  const picture = new PNG({ width, height })
  picture.data = Buffer.alloc(width * height * 3)
  const paste = (tile: Tile, pixels: Uint8Array): void => {
    for (let y = 0; y < tile.height; y++) {
      const row = pixels.subarray(y * tile.width * 3, (y + 1) * tile.width * 3)
      picture.data.set(row, ((tile.top + y) * width + tile.left) * 3)
    }
  }

  console.log(`Rendering ${width} x ${height} pixels, 4 points each, in ${tiles.length} tiles`)
  const all = await renderOn({ nodes }, "Rendering", tiles, signal, paste)
  await writeFile(file, PNG.sync.write(picture, { colorType: 2, inputColorType: 2, inputHasAlpha: false }))
  console.log(`Done in ${seconds(all.millis)}: ${file}\n`)
  console.log(all.table)

  // One slot renders a few of the tiles, spread over the picture; the share of the steps that they took in the whole
  // says how long the rest would have taken. Steps are counted, so the machine's mood does not matter to the share.
  const stride = Math.max(1, Math.ceil(tiles.length / 24))
  const isSample = (_: unknown, i: number) => i % stride === Math.floor(stride / 2)
  const sum = (steps: ReadonlyArray<number>) => steps.reduce((a, b) => a + b, 0)
  const share = sum(all.steps.filter(isSample)) / sum(all.steps)
  const sample = tiles.filter(isSample)
  const one = await renderOn({ nodes: ["local"], cpus: 1 }, "One slot", sample, signal, () => {})
  const alone = one.millis / share
  console.log(
    `\nOne slot of this machine took ${seconds(one.millis)} for ${sample.length} of the tiles, which are ` +
      `${(share * 100).toFixed(1)} % of the work (counted in steps):\nabout ${seconds(alone)} for all of them. ` +
      `${all.slots} slots took ${seconds(all.millis)}: ${(alone / all.millis).toFixed(2)} times as fast.`
  )
  return 0
})
