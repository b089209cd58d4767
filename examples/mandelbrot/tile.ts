/**
 * The computation of the Mandelbrot example: an ordinary TypeScript module with
 * an import of its own. It is bundled and sent to the nodes once; then every job
 * is one rectangle of the picture.
 */
import * as Palette from "./palette.ts"

/** Which part of the plane to show, how large and how fine. */
export interface View {
  readonly centre: readonly [re: number, im: number]
  /** Width of the part, in the plane's own units. */
  readonly span: number
  /** Size of the picture in pixels. */
  readonly width: number
  readonly height: number
  /** Points that have not left after so many steps are drawn as inside. */
  readonly iterations: number
  /** Points per pixel, in each direction. */
  readonly samples: number
}

/** A rectangle of the picture. */
export interface Tile {
  readonly view: View
  readonly left: number
  readonly top: number
  readonly width: number
  readonly height: number
}

/** A rectangle that is done. */
export interface RenderedTile {
  /** Red, green and blue of every pixel, row by row. */
  readonly pixels: Uint8Array
  /** Steps that it took: a measure of work that does not depend on the machine. */
  readonly steps: number
}

/** A point is far away, and will never come back, beyond this radius; a large one makes the colours smooth. */
const escape = 1e6

/** Points inside the two largest bodies never leave: no need to try. */
const isInside = (x: number, y: number): boolean => {
  const q = (x - 0.25) ** 2 + y * y
  return q * (q + (x - 0.25)) <= 0.25 * y * y || (x + 1) ** 2 + y * y <= 0.0625
}

/** Where the light comes from: over the left shoulder. */
const light = [-Math.SQRT1_2, Math.SQRT1_2] as const
const lightHeight = 2.2

/**
 * Adds the colour of one point to `sum`; returns the steps it took. `z` follows z² + c, and `d` its derivative by c:
 * their quotient points away from the set, which gives the picture its relief.
 */
const addPoint = (sum: Float64Array, cx: number, cy: number, limit: number): number => {
  if (isInside(cx, cy)) return 1
  let zx = cx
  let zy = cy
  let dx = 1
  let dy = 0
  let xx = zx * zx
  let yy = zy * zy
  let n = 1
  while (xx + yy <= escape && n < limit) {
    const ex = 2 * (zx * dx - zy * dy) + 1
    dy = 2 * (zx * dy + zy * dx)
    dx = ex
    zy = 2 * zx * zy + cy
    zx = xx - yy + cx
    xx = zx * zx
    yy = zy * zy
    n++
  }
  if (n === limit) return n
  const steps = n + 1 - Math.log2(Math.log(xx + yy) / 2)
  const position = Math.log(steps) * 0.9
  // The direction z / d, of length 1, as the horizontal part of a surface's normal.
  const ux = zx * dx + zy * dy
  const uy = zy * dx - zx * dy
  const length = Math.hypot(ux, uy)
  const slope = (ux * light[0] + uy * light[1]) / length
  const brightness = Math.max(0, (slope + lightHeight) / (1 + lightHeight))
  Palette.add(sum, position, brightness)
  return n
}

/** Renders a rectangle. */
export const render = ({ height, left, top, view, width }: Tile): RenderedTile => {
  const { centre, samples, span } = view
  const step = span / view.width / samples
  const pixels = new Uint8Array(width * height * 3)
  const sum = new Float64Array(3)
  let steps = 0
  for (let y = 0, offset = 0; y < height; y++) {
    for (let x = 0; x < width; x++, offset += 3) {
      sum.fill(0)
      for (let sy = 0; sy < samples; sy++) {
        const cy = centre[1] - ((top + y - view.height / 2) * samples + sy + 0.5) * step
        for (let sx = 0; sx < samples; sx++) {
          const cx = centre[0] + ((left + x - view.width / 2) * samples + sx + 0.5) * step
          steps += addPoint(sum, cx, cy, view.iterations)
        }
      }
      for (let i = 0; i < 3; i++) pixels[offset + i] = Palette.toByte(sum[i]! / (samples * samples))
    }
  }
  return { pixels, steps }
}
