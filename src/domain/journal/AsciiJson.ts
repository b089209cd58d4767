/** JSON as bytes, for records: everything beyond ASCII is escaped, so that neither side needs an encoder of text. */

const escape = (unit: string): string => `\\u${unit.charCodeAt(0).toString(16).padStart(4, "0")}`

/** The bytes of a JSON text. */
export const encode = (json: string): Uint8Array => {
  const ascii = json.replaceAll(/[^\0-\x7f]/g, escape)
  const bytes = new Uint8Array(ascii.length)
  for (let i = 0; i < ascii.length; i++) bytes[i] = ascii.charCodeAt(i)
  return bytes
}

/** Characters that are made of bytes at once. */
const chunk = 8192

/** The JSON text of bytes. */
export const decode = (bytes: Uint8Array): string => {
  let json = ""
  for (let i = 0; i < bytes.length; i += chunk) json += String.fromCharCode(...bytes.subarray(i, i + chunk))
  return json
}
