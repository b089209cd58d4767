/** Colours of the picture: a smooth cycle through a few stops, mixed in linear light so that no band looks dirty. */

/** Red, green and blue, 0 to 255, in sRGB. */
type Rgb = readonly [number, number, number]

/** Night blue, deep water, foam, sun, rust, wine; and back. */
const stops: ReadonlyArray<readonly [position: number, colour: Rgb]> = [
  [0, [4, 8, 44]],
  [0.14, [12, 58, 140]],
  [0.32, [98, 178, 226]],
  [0.44, [242, 250, 240]],
  [0.56, [255, 204, 92]],
  [0.7, [214, 94, 22]],
  [0.84, [92, 14, 36]],
  [1, [4, 8, 44]]
]

const toLinear = (value: number): number => (value / 255) ** 2.2

const size = 4096

const smooth = (t: number): number => t * t * (3 - 2 * t)

const table = Float32Array.from({ length: size * 3 }, (_, i) => {
  const position = Math.floor(i / 3) / size
  const next = stops.findIndex(([end]) => end > position)
  const [from, before] = stops[next - 1]!
  const [to, after] = stops[next]!
  const t = smooth((position - from) / (to - from))
  const channel = i % 3 as 0 | 1 | 2
  return toLinear(before[channel]) * (1 - t) + toLinear(after[channel]) * t
})

/**
 * Adds the colour at `position` of the cycle (any number; whole ones are the same) under so much `light` to the linear
 * `sum`. Shadows are blue, as outdoors.
 */
export const add = (sum: Float64Array, position: number, light: number): void => {
  const offset = Math.floor((position - Math.floor(position)) * size) * 3
  sum[0]! += table[offset]! * light
  sum[1]! += table[offset + 1]! * (0.1 + 0.9 * light)
  sum[2]! += table[offset + 2]! * (0.35 + 0.65 * light)
}

const sRgb = Uint8Array.from({ length: 4096 }, (_, i) => Math.round((i / 4095) ** (1 / 2.2) * 255))

/** A channel as a byte of the picture. */
export const toByte = (linear: number): number => sRgb[Math.min(4095, Math.round(linear * 4095))]!
