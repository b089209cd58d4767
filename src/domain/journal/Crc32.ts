/** CRC-32 (IEEE 802.3, as in zlib and PNG), in plain JavaScript since nothing below `layers` knows of Node. */

const table = Uint32Array.from({ length: 256 }, (_, byte) => {
  let rest = byte
  for (let bit = 0; bit < 8; bit++) rest = rest & 1 ? (rest >>> 1) ^ 0xED_B8_83_20 : rest >>> 1
  return rest
})

/** The checksum of these bytes, going on from that of what is before them. */
export const crc32 = (bytes: Uint8Array, before = 0): number => {
  let rest = ~before
  for (let i = 0; i < bytes.length; i++) rest = (rest >>> 8) ^ table[(rest ^ bytes[i]!) & 0xFF]!
  return ~rest >>> 0
}
