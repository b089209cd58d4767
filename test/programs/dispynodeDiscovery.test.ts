/** `dispynode` and `dispynetrelay` on the network: where they listen, what they refuse, how they end. */
import { describe, expect, it } from "@effect/vitest"
import { Effect, Stream } from "effect"
import { spawnSync } from "node:child_process"
import * as fs from "node:fs"
import * as path from "node:path"
import * as Datagram from "../../src/domain/discovery/Datagram.ts"
import * as Stamps from "../../src/layers/discovery/Stamps.ts"
import * as Beacons from "../support/Beacons.ts"
import * as Built from "../support/Built.ts"
import * as DaemonProcess from "../support/DaemonProcess.ts"
import * as UdpSockets from "../support/UdpSockets.ts"

const relayProgram = Built.program("dispynetrelay")

const relay = (args: ReadonlyArray<string>, env: Readonly<Record<string, string>> = {}) => {
  const { status, stderr, stdout } = spawnSync(process.execPath, [relayProgram, ...args], {
    encoding: "utf8",
    env: { ...process.env, ...env }
  })
  return { status, stderr: stderr.trim(), stdout: stdout.trim() }
}

describe("dispynode", () => {
  it.live("hears datagrams on loopback only, unless it is opened", () =>
    Effect.gen(function*() {
      const daemon = yield* DaemonProcess.start(["--port", "0"])
      const port = DaemonProcess.portOf(yield* daemon.ready)
      const addresses = UdpSockets.of(daemon.child.pid!)
      expect(addresses).toContain(`127.0.0.1:${port}`)
      expect(addresses.filter((one) => !/^(127\.(0\.0\.1|255\.255\.255)|::1):\d+$/.test(one))).toEqual([])
    }))

  it.live("works though its UDP port is taken, and says so once", () =>
    Effect.gen(function*() {
      const [port = 0] = yield* Beacons.freePorts(1)
      yield* Beacons.aSocket("127.0.0.1", port)
      const daemon = yield* DaemonProcess.start(["--port", String(port)])
      expect(yield* daemon.ready).toContain(`127.0.0.1:${port}`)
      daemon.child.kill("SIGTERM")
      expect(yield* daemon.ended).toEqual({ code: 0, signal: null })
      const warnings = daemon.stderr.filter((line) => line.includes("clients cannot find this node by themselves"))
      expect(warnings).toEqual([expect.stringContaining(`udpPort=${port} reason=EADDRINUSE`)])
    }))

  it.live("outlives 100,000 datagrams of junk, duplicates and old versions, is found after them, and logs little of it", () =>
    Effect.gen(function*() {
      const daemon = yield* DaemonProcess.start(["--port", "0", "--name", "sturdy", "--debug"])
      const nodePort = DaemonProcess.portOf(yield* daemon.ready)
      const socket = yield* Beacons.aSocket()
      const stamp = yield* Stamps.next
      const ping = Datagram.encode({ _tag: "Ping", answerAt: [] }, stamp, undefined)
      const old = ping.slice()
      old[5] = 9
      const kinds = [
        ping,
        old,
        ping.subarray(0, 300),
        Buffer.alloc(0),
        Buffer.alloc(9000, 7),
        Buffer.from("dispy\u0001")
      ]
      for (let sent = 0; sent < 100_000; sent += 50) {
        yield* Effect.callback<void>((resume) => {
          for (let i = 1; i < 50; i++) socket.send(kinds[(sent + i) % kinds.length]!, nodePort, "127.0.0.1")
          socket.send(ping, nodePort, "127.0.0.1", () => resume(Effect.void))
        })
      }
      const [clientPort = 0] = yield* Beacons.freePorts(1)
      const client = yield* Beacons.aClient({ nodePort, clientPort })
      const found = yield* client.found([Beacons.pattern("sturdy")]).pipe(
        Stream.drop(1),
        Stream.take(1),
        Stream.runCollect
      )
      expect(found).toEqual([{ _tag: "Tcp", host: "127.0.0.1", port: nodePort }])
      expect(daemon.stderr.filter((line) => /datagram/.test(line)).length).toBeLessThan(10)
    }))

  it.live("refuses what no datagram can tell, and names it", () =>
    Effect.gen(function*() {
      for (
        const [args, reason] of [
          [["--scheduler-node", "10.0.0.*"], "--scheduler-node \"10.0.0.*\" is a wildcard"],
          [["--scheduler-node", "host:0"], "--scheduler-node \"host:0\" has port \"0\""],
          [["--scheduler-node", "local"], "is not a host"],
          [["--ext-ip-addr", "http://me"], "--ext-ip-addr \"http://me\" is not an IP address or a host name"],
          [["a", "b", "c", "d"].flatMap((host) => ["--ext-ip-addr", host]), "at most 3"],
          [["--ping-interval", "500ms"], "--ping-interval 0.5 is too short"]
        ] as const
      ) {
        const { code, stderr } = yield* DaemonProcess.run([...args])
        expect([code, stderr.join("\n")]).toEqual([2, expect.stringContaining(reason)])
      }
    }))
})

describe("dispynetrelay", () => {
  it("refuses wrong options in a sentence", () => {
    for (
      const [args, reason] of [
        [["--ip-addr", "10.0.0.7"], "--ip-addr 10.0.0.7 would have everyone who reaches it find the nodes here"],
        [["--ip-addr", "eth0"], "--ip-addr \"eth0\" is not an IP address"],
        [["--relay-port", "51347"], "--relay-port 51347 is also where nodes announce themselves"],
        [["--relay-prot", "1"], "relay-port"],
        [["--scheduler-node", "a b"], "is not a host"]
      ] as const
    ) expect(relay(args)).toEqual({ status: 2, stdout: "", stderr: expect.stringContaining(reason) })
  })

  it.live("says where it is ready, listens there only, and ends with 0 when it is asked to", () =>
    Effect.gen(function*() {
      const [relayPort = 0, clientPort = 0] = yield* Beacons.freePorts(2)
      const directory = yield* DaemonProcess.aDirectory
      const file = path.join(directory, "relay.json")
      const saved = relay(["--relay-port", String(relayPort), "--save-config", file], {
        DISPYNETRELAY_SCHEDULER_PORT: String(clientPort)
      })
      expect(saved).toEqual({ status: 0, stdout: "", stderr: "" })
      expect(JSON.parse(fs.readFileSync(file, "utf8"))).toMatchObject({
        "relay-port": relayPort,
        "scheduler-port": clientPort
      })
      const running = yield* DaemonProcess.startProgram(relayProgram, ["--config", file])
      expect(yield* running.ready).toBe(
        `dispynetrelay 0.1.0 ready on UDP 127.0.0.1:${relayPort} and [::1]:${relayPort}, for nodes at port 51348`
      )
      const addresses = UdpSockets.of(running.child.pid!)
      expect(addresses).toContain(`127.0.0.1:${relayPort}`)
      expect(addresses.filter((one) => !/^(127\.(0\.0\.1|255\.255\.255)|::1):\d+$/.test(one))).toEqual([])
      expect(relay(["--config", file])).toMatchObject({ status: 1, stderr: expect.stringContaining("in use") })
      running.child.kill("SIGTERM")
      expect(yield* running.ended).toEqual({ code: 0, signal: null })
    }))
})
