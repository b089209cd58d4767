/** The kernel's tables of sockets, as a machine has written them. */
import { describe, expect, it } from "@effect/vitest"
import * as ProcNet from "../../../src/domain/doctor/ProcNet.ts"
import * as ProgramName from "../../../src/domain/doctor/ProgramName.ts"

const header = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode"

describe("sockets of the network", () => {
  it("are those that wait for peers, with their addresses", () => {
    const tcp = [
      header,
      "   0: 0100007F:C894 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 640 1 0 100 0 0 10 0",
      "   1: 0700000A:C894 0800000A:89B7 01 00000000:00000000 03:000000E4 00000000     0        0 641 3 0",
      ""
    ].join("\n")
    expect(ProcNet.parseInet("tcp", tcp)).toEqual([
      { transport: "tcp", address: "127.0.0.1", port: 51348, inode: "640" }
    ])
    const tcp6 = [
      header,
      "   0: 00000000000000000000000001000000:C894 00000000000000000000000000000000:0000 0A 0:0 00:0 0 0 0 7 1 0",
      "   1: 000000FD000000000000000007000000:C894 00000000000000000000000000000000:0000 0A 0:0 00:0 0 0 0 8 1 0"
    ].join("\n")
    expect(ProcNet.parseInet("tcp", tcp6).map((socket) => socket.transport === "unix" ? "" : socket.address)).toEqual(
      ["::1", "fd00::7"]
    )
    const udp = [
      header,
      "  9: 00000000:C893 00000000:0000 07 00000000:00000000 00:00000000 00000000     0        0 99 2 0 0"
    ].join("\n")
    expect(ProcNet.parseInet("udp", udp)).toEqual([
      { transport: "udp", address: "0.0.0.0", port: 51347, inode: "99" }
    ])
  })

  it("are none in a table that is empty or damaged", () => {
    expect(["", header, "   0: ZZ:1 1:1 0A", "\0\0"].flatMap((table) => ProcNet.parseInet("tcp", table))).toEqual([])
  })
})

describe("sockets in the file system", () => {
  it("are those that take connections and have a path, blanks included", () => {
    const table = [
      "Num       RefCount Protocol Flags    Type St Inode Path",
      "00000000a13ce26c: 00000003 00000000 00000000 0001 03 5513173",
      "000000004654ad1c: 00000002 00000000 00010000 0001 01 5513596 /tmp/a b/node.sock",
      "0000000017e97f05: 00000003 00000000 00000000 0001 03 5513585 /tmp/a b/node.sock"
    ].join("\n")
    expect(ProcNet.parseUnix(table)).toEqual([{ transport: "unix", path: "/tmp/a b/node.sock", inode: "5513596" }])
  })
})

describe("what a process runs", () => {
  it("is the program of this package, however it was started", () => {
    for (
      const words of [
        ["/usr/bin/node", "/home/ada/node_modules/.bin/dispynode", "--port", "0"],
        ["node", "--enable-source-maps", "/app/dist/programs/dispynode.js"],
        ["/opt/node24", "--import", "/app/hook.js", "/app/src/programs/dispynode.ts"],
        ["dispynode"]
      ]
    ) expect(ProgramName.of(words)).toEqual({ program: "dispynode", isDispy: true })
  })

  it("is else the script, or the command", () => {
    expect(ProgramName.of(["node", "/home/ada/render.js"])).toEqual({ program: "render", isDispy: false })
    expect(ProgramName.of(["/usr/sbin/nginx", "-g", "dispynode"])).toEqual({ program: "nginx", isDispy: false })
    expect(ProgramName.of(["node"])).toEqual({ program: "node", isDispy: false })
    expect(ProgramName.of([])).toEqual({ program: "", isDispy: false })
  })
})
