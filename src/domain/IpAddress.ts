/** IP addresses in one form each, so that two ways of writing the same one are equal. */

const ipv4 = /^(\d{1,3})\.(\d{1,3})\.(\d{1,3})\.(\d{1,3})$/

/** The two groups that an IPv4 address takes at the end of an IPv6 address. */
const groupsOfIpv4 = (text: string): ReadonlyArray<string> | undefined => {
  const bytes = ipv4.exec(text)?.slice(1).map(Number)
  if (bytes === undefined || bytes.some((byte) => byte > 255)) return undefined
  const [a = 0, b = 0, c = 0, d = 0] = bytes
  return [(a * 256 + b).toString(16), (c * 256 + d).toString(16)]
}

/** The eight groups of an IPv6 address without leading zeros; undefined when the text is none. */
const groupsOf = (text: string): ReadonlyArray<string> | undefined => {
  const halves = text.split("::")
  if (halves.length > 2) return undefined
  const parsed = halves.map((half): ReadonlyArray<string> | undefined => {
    if (half === "") return []
    const groups: Array<string> = []
    for (const group of half.split(":")) {
      const last = group.includes(".") ? groupsOfIpv4(group) : undefined
      if (last !== undefined) groups.push(...last)
      else if (/^[0-9a-f]{1,4}$/.test(group)) groups.push(group.replace(/^0+(?=.)/, ""))
      else return undefined
    }
    return groups
  })
  const [left, right] = parsed
  if (left === undefined) return undefined
  if (halves.length === 1) return left.length === 8 ? left : undefined
  if (right === undefined || left.length + right.length > 7) return undefined
  return [...left, ...Array.from({ length: 8 - left.length - right.length }, () => "0"), ...right]
}

/** The groups with the longest run of zeros left out, as RFC 5952 says. */
const compress = (groups: ReadonlyArray<string>): string => {
  let [best, length] = [-1, 1]
  for (let start = 0; start < groups.length; start++) {
    let end = start
    while (groups[end] === "0") end++
    if (end - start > length) [best, length] = [start, end - start]
  }
  if (best < 0) return groups.join(":")
  return `${groups.slice(0, best).join(":")}::${groups.slice(best + length).join(":")}`
}

/** The forms of an IP address: the usual one first, an IPv6 address also with all eight groups. Empty for other texts. */
export const forms = (text: string): ReadonlyArray<string> => {
  const [address = "", zone] = text.toLowerCase().split("%")
  if (groupsOfIpv4(address) !== undefined) return [ipv4.exec(address)!.slice(1).map(Number).join(".")]
  const groups = groupsOf(address)
  if (groups === undefined) return []
  // An IPv4 address as a socket for both kinds tells it.
  if (groups.slice(0, 5).every((group) => group === "0") && groups[5] === "ffff") {
    const [high, low] = groups.slice(6).map((group) => Number.parseInt(group, 16))
    return [[high! >> 8, high! & 255, low! >> 8, low! & 255].join(".")]
  }
  const suffix = zone === undefined ? "" : `%${zone}`
  return [compress(groups) + suffix, groups.join(":") + suffix]
}

/** The usual form of an IP address; other texts, host names say, in lower case. */
export const canonical = (text: string): string => forms(text)[0] ?? text.toLowerCase()
