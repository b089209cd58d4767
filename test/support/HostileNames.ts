/** 500 and more names with which a peer would get out of a directory, into a device, or over another file. */

const up = [
  "..",
  "../",
  "../x",
  "../../etc/passwd",
  "a/../..",
  "a/../../x",
  "a/b/../../../x",
  "./..",
  "..//x",
  "x/..",
  "x/../y"
]

const slashes = [
  "..\\x",
  "a\\..\\..\\x",
  "\\x",
  "\\\\server\\share\\x",
  "\\\\?\\C:\\x",
  "\\\\.\\PhysicalDrive0",
  "a\\b",
  "x\\",
  "..\\/x"
]

const absolute = ["/", "/x", "//x", "///etc/passwd", "/../x", "/proc/self/mem", "/dev/sda", "/dev/null", "/tmp/x"]

const drives = ["C:", "c:x", "C:/x", "z:\\x", "C:..", "C:../x", "a/C:x", "Ｃ：x"]

const empty = [
  "",
  ".",
  "./",
  "./x",
  "a/.",
  "a/./b",
  "a//b",
  "a/",
  "//",
  " ",
  "a/ ",
  "a. ",
  "...",
  "a/...",
  "x.",
  "x ",
  "x./y",
  "x /y"
]

const devices = [
  "con",
  "prn",
  "aux",
  "nul",
  "com0",
  "com1",
  "com9",
  "lpt1",
  "lpt9",
  "conin$",
  "conout$",
  "clock$",
  "COM¹",
  "LPT³"
]

const controls = Array.from({ length: 32 }, (_, code) => String.fromCharCode(code))
  .concat("\u007f", "\u0080", "\u0085", "\u009f", "\u2028", "\u2029")

const unicode = [
  "．．",
  "．．/x",
  "a/．．/．．/x",
  "／x",
  "a／..／x",
  "＼x",
  "a＼b",
  "․․",
  "‥",
  "‥/x",
  "a/‥/b",
  "．",
  "\ud800",
  "x\udc00y"
]

const long = [
  "x".repeat(256),
  "ä".repeat(128),
  "x/".repeat(1100) + "x",
  "x".repeat(4096),
  `a/${"y".repeat(300)}`,
  "😀".repeat(64)
]

const own = [".dispy-1-2-3.part", ".dispy-", "a/.dispy-x"]

/** What each of these is as well inside of a longer path. */
const inside = (names: ReadonlyArray<string>): ReadonlyArray<string> =>
  names.flatMap((name) => [name, `a/${name}`, `${name}/a`, `a/b/${name}/c`])

/** All of them. */
export const hostileNames: ReadonlyArray<string> = [
  ...new Set([
    ...inside(up),
    ...inside(slashes),
    ...absolute,
    ...drives,
    ...inside(drives.filter((name) => name.includes(":") && !name.includes("/"))),
    ...empty,
    ...inside(devices.flatMap((name) => [name, name.toUpperCase(), `${name}.txt`])),
    ...controls.flatMap((code) => [code, `a${code}`, `${code}a`, `a/${code}b`]),
    ...inside(unicode),
    ...long,
    ...inside(own)
  ])
]
