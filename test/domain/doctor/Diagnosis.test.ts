/** What facts mean: each finding from the facts that lead to it. */
import { describe, expect, it } from "@effect/vitest"
import * as Diagnosis from "../../../src/domain/doctor/Diagnosis.ts"
import type {
  Authentication,
  CredentialFacts,
  Facts,
  JobFact,
  NodeFacts,
  PortFact
} from "../../../src/domain/doctor/Facts.ts"
import * as Finding from "../../../src/domain/doctor/Finding.ts"

const day = 86_400_000
const now = Date.UTC(2030, 0, 15)

const healthy: Facts = {
  versions: { node: "24.21.0", dispy: "0.1.0", protocol: 2 },
  interfaces: [
    { name: "lo", addresses: ["127.0.0.1/8"], isInternal: true },
    { name: "eth0", addresses: ["10.0.0.7/24", "fd00::7/64"], isInternal: false }
  ],
  ports: [
    { transport: "tcp", port: 51348, side: "node", isTaken: false, holder: undefined },
    {
      transport: "udp",
      port: 51348,
      side: "node",
      isTaken: true,
      holder: { pid: 7, program: "dispynode", isDispy: true }
    }
  ],
  credentials: { kind: "none", refusal: "", files: [], secret: undefined, certificates: [], mismatches: [] },
  destination: { directory: "/tmp", unusable: "", freeBytes: 5 * 1024 ** 3 },
  nodes: [],
  sockets: undefined
}

const aNode: NodeFacts = {
  address: "alpha:51348",
  tcp: { _tag: "Connected", ipAddr: "10.0.0.8", millis: 0.4 },
  hello: { _tag: "Greeted", name: "alpha", version: "0.1.0", cpus: 4, freeDiskBytes: 1024 ** 4 },
  udp: undefined,
  job: { _tag: "Ran", millis: 20, clockAhead: 3, clockDoubt: 2 }
}

/** The findings that are other than for the healthy facts. */
const changed = (facts: Partial<Facts>): ReadonlyArray<Finding.Finding> => {
  const usual = new Set(Diagnosis.diagnose(healthy, now).map(({ message }) => message))
  return Diagnosis.diagnose({ ...healthy, ...facts }, now).filter(({ message }) => !usual.has(message))
}

const about = (node: Partial<NodeFacts>): ReadonlyArray<Finding.Finding> => changed({ nodes: [{ ...aNode, ...node }] })

const worst = (findings: ReadonlyArray<Finding.Finding>): Finding.Finding =>
  findings.find(({ severity }) => severity === "problem") ??
    findings.find(({ severity }) => severity === "warning") ?? findings[0]!

describe("a machine that is in order", () => {
  it("has nothing but ok findings, which need no fix", () => {
    const findings = Diagnosis.diagnose({ ...healthy, nodes: [aNode], sockets: [] }, now)
    expect(findings.map(({ severity }) => severity)).toEqual(findings.map(() => "ok"))
    expect(findings.every(({ fix }) => fix === "")).toBe(true)
    expect(Finding.isHealthy(findings)).toBe(true)
    const text = findings.map(({ message }) => message).join("\n")
    expect(text).toContain("dispy 0.1.0 (protocol 2) on Node 24.21.0")
    expect(text).toContain("interface eth0 has 10.0.0.7/24, fd00::7/64")
    expect(text).toContain("port 51348 TCP is free")
    expect(text).toContain("port 51348 UDP is dispynode's (pid 7)")
    expect(text).toContain("alpha:51348 is node alpha (dispy 0.1.0) at 10.0.0.8, 0.4 ms away, with 4 cpus")
    expect(text).toContain("ran a job in 20 ms")
    expect(text).toContain("agrees with this machine's within 5 ms")
    expect(text).not.toContain("interface lo")
  })

  it("is one whose findings all have a fix when they are not ok", () => {
    const findings = Diagnosis.diagnose({
      ...healthy,
      interfaces: [],
      destination: { directory: "/full", unusable: "ENOSPC", freeBytes: 0 },
      nodes: [{ ...aNode, tcp: { _tag: "NotConnected", code: "EWEIRD" }, hello: undefined, job: undefined }]
    }, now)
    expect(findings.filter(({ severity }) => severity !== "ok").every(({ fix }) => fix !== "")).toBe(true)
    expect(Finding.isHealthy(findings)).toBe(false)
  })
})

describe("this machine", () => {
  it("without an address outside can only use itself, which is a warning", () => {
    expect(changed({ interfaces: healthy.interfaces.slice(0, 1) })).toMatchObject([
      { severity: "warning", topic: "network", message: expect.stringContaining("only this machine") as string }
    ])
  })

  it("names who has a port, and what that means for the side that needs it", () => {
    const taken = (fact: Partial<PortFact>) => changed({ ports: [{ ...healthy.ports![0]!, isTaken: true, ...fact }] })
    const [byProgram] = taken({ holder: { pid: 42, program: "nginx", isDispy: false } })
    expect(byProgram).toMatchObject({ severity: "warning", topic: "ports" })
    expect(byProgram!.message).toContain("port 51348 TCP is taken by nginx (pid 42)")
    expect(byProgram!.fix).toContain("--port")
    expect(taken({})[0]!.message).toContain("another user")
    const [parking] = taken({ transport: "tcp", port: 51347, side: "client" })
    expect(parking).toMatchObject({ severity: "warning", message: expect.stringContaining("nodes that dial out") })
    const [client] = taken({ transport: "udp", port: 51347, side: "client" })
    expect(client!.message).toContain("does not hear nodes that announce themselves")
  })

  it("may not tell who has ports, which is said", () => {
    expect(changed({ ports: undefined })).toMatchObject([{ severity: "warning", topic: "ports" }])
  })

  it("cannot be a node where its files cannot be written, and warns of a disk that is nearly full", () => {
    const [unusable] = changed({ destination: { directory: "/d", unusable: "EACCES: no", freeBytes: 0 } })
    expect(unusable).toMatchObject({ severity: "problem", topic: "disk" })
    expect(unusable!.message).toContain("/d: EACCES: no")
    const [low] = changed({ destination: { directory: "/d", unusable: "", freeBytes: 200 * 1024 ** 2 } })
    expect(low).toMatchObject({ severity: "warning", message: expect.stringContaining("200 MiB left") as string })
  })
})

describe("credentials", () => {
  const having = (facts: Partial<CredentialFacts>) =>
    worst(changed({ credentials: { ...healthy.credentials, kind: "secret", ...facts } }))

  const aFile = { where: "--secret-file", file: "/s", isPrivate: true, unreadable: "", mode: 0o600 }

  it("are good when they can be read by their owner only", () => {
    expect(having({ files: [aFile], secret: { where: "--secret-file /s", characters: 43 } }).severity).toBe("ok")
  })

  it("that cannot be read, or by everybody, are problems that name the file", () => {
    const unreadable = having({ files: [{ ...aFile, unreadable: "there is no such file", mode: 0 }] })
    expect(unreadable).toMatchObject({ severity: "problem" })
    expect(unreadable.message).toBe("--secret-file /s cannot be read: there is no such file")
    const open = having({ files: [{ ...aFile, mode: 0o644 }] })
    expect(open).toMatchObject({ severity: "problem", fix: expect.stringContaining("chmod 600 /s") as string })
    expect(open.message).toContain("mode 644")
    expect(having({ files: [{ ...aFile, isPrivate: false, mode: 0o644 }] }).severity).toBe("ok")
  })

  it("must have a secret of 16 characters", () => {
    const short = having({ secret: { where: "DISPY_SECRET", characters: 15 } })
    expect(short).toMatchObject({ severity: "problem" })
    expect(short.message).toContain("from DISPY_SECRET has 15 characters")
    expect(having({ secret: { where: "DISPY_SECRET", characters: 16 } }).severity).toBe("ok")
  })

  it("expire: 30 days before that is a warning, after it a problem", () => {
    const expiring = (notAfter: number, notBefore = 0) =>
      having({
        kind: "certificate",
        certificates: [{ where: "--certfile", file: "/c.pem", subject: "CN=ada", notBefore, notAfter }]
      })
    expect(expiring(now + 31 * day).severity).toBe("ok")
    expect(expiring(now + 29 * day)).toMatchObject({ severity: "warning" })
    expect(expiring(now - 1)).toMatchObject({ severity: "problem" })
    expect(expiring(now - day).message).toContain("CN=ada in --certfile /c.pem expired on 2030-01-14")
    expect(expiring(now + 99 * day, now + day)).toMatchObject({
      severity: "problem",
      fix: expect.stringContaining("clock") as string
    })
  })

  it("of both kinds, or that do not fit together, are problems", () => {
    expect(having({ kind: "both" })).toMatchObject({ severity: "problem" })
    expect(having({ refusal: "--certfile /c cannot be used: it is odd" })).toMatchObject({ severity: "problem" })
    expect(having({ kind: "certificate", mismatches: [{ message: "the key is another's", fix: "name them both" }] }))
      .toMatchObject({ severity: "problem", message: "the key is another's", fix: "name them both" })
  })
})

describe("a node", () => {
  it("that cannot be reached has a reason and a fix for each way that fails", () => {
    for (
      const [code, reason, fix] of [
        ["ECONNREFUSED", "nothing listens", "start dispynode"],
        ["ENOTFOUND", "host name is unknown", "IP address"],
        ["EAI_AGAIN", "name service", "resolv.conf"],
        ["EHOSTUNREACH", "no way to the host", "ip route"],
        ["ENETUNREACH", "no way to its network", "ip route"],
        ["ETIMEDOUT", "nobody answers", "firewalls"],
        ["ECONNRESET", "reset", "firewalls"],
        ["EWEIRD", "EWEIRD", "start dispynode"]
      ] as const
    ) {
      const findings = about({ tcp: { _tag: "NotConnected", code }, hello: undefined, job: undefined })
      expect(findings).toMatchObject([{ severity: "problem", topic: "node" }])
      expect(findings[0]!.message).toMatch(/^alpha:51348 cannot be reached by TCP: /)
      expect(findings[0]!.message).toContain(reason)
      expect(findings[0]!.fix).toContain(fix)
    }
  })

  it("is not greeted without usable credentials", () => {
    expect(about({ hello: undefined, job: undefined })).toMatchObject([
      { severity: "ok", message: expect.stringContaining("can be reached at 10.0.0.8") as string }
    ])
  })

  it("may be no dispynode, or one of another version", () => {
    const other = about({ hello: { _tag: "NoGreeting", reason: "no answer in time" }, job: undefined })
    expect(other).toMatchObject([{ severity: "problem" }])
    expect(other[0]!.message).toContain("does not greet this client: no answer in time")
    const version = about({ hello: { _tag: "OtherVersion", version: "9.9.9" }, job: undefined })
    expect(version).toMatchObject([{ severity: "problem" }])
    expect(version[0]!.message).toContain("runs dispy 9.9.9")
  })

  it("may offer no cpus now, or have a disk that is nearly full", () => {
    const hello = { _tag: "Greeted", name: "alpha", version: "0.1.0", cpus: 4, freeDiskBytes: 10 * 1024 ** 2 } as const
    expect(worst(about({ hello }))).toMatchObject({ severity: "warning", topic: "disk" })
    expect(worst(about({ hello: { ...hello, cpus: 0 }, job: undefined }))).toMatchObject({
      severity: "problem",
      message: expect.stringContaining("offers no cpus") as string
    })
  })

  it("may answer no datagrams, which is a warning", () => {
    expect(worst(about({ udp: { _tag: "Silent" } }))).toMatchObject({
      severity: "warning",
      message: expect.stringContaining("does not answer datagrams") as string
    })
    expect(worst(about({ udp: { _tag: "Unheeded", meaning: "signed with another secret: give both the same" } })))
      .toMatchObject({
        severity: "warning",
        message: expect.stringContaining("is not found by datagrams, which are signed with another secret") as string,
        fix: "give both the same"
      })
    expect(worst(about({ udp: { _tag: "Answered", millis: 0.3 } })).severity).toBe("ok")
  })

  it("may have somebody else's jobs, or fail to run one", () => {
    const after = (job: JobFact) => worst(about({ job }))
    expect(after({ _tag: "Busy", reason: "leased to eve@laptop" })).toMatchObject({
      severity: "problem",
      message: expect.stringContaining("leased to eve@laptop") as string
    })
    expect(after({ _tag: "Failed", reason: "no result within 20 seconds" })).toMatchObject({ severity: "problem" })
  })

  it("may have another time: a warning only when it is certain", () => {
    const off = (clockAhead: number, clockDoubt: number) =>
      worst(about({ job: { _tag: "Ran", millis: 20, clockAhead, clockDoubt } }))
    expect(off(-7_200_000, 2)).toMatchObject({ severity: "warning", topic: "clock" })
    expect(off(-7_200_000, 2).message).toContain("7200.0 s behind this machine's")
    expect(off(6000, 2).message).toContain("6.0 s ahead of")
    expect(off(6000, 2000).severity).toBe("ok")
  })
})

describe("a listening socket", () => {
  const listening = (authentication: Authentication, address = "10.0.0.7", transport: "tcp" | "udp" | "unix" = "tcp") =>
    worst(changed({
      sockets: [{
        pid: 7,
        program: "dispynode",
        transport,
        address,
        port: transport === "unix" ? 0 : 51348,
        authentication
      }]
    }))

  it("without authentication is a warning, unless only this machine reaches it", () => {
    const open = listening({ _tag: "None" }, "0.0.0.0")
    expect(open).toMatchObject({ severity: "warning", topic: "sockets" })
    expect(open.message).toContain("dispynode (pid 7) listens on TCP 0.0.0.0:51348, without authentication")
    expect(listening({ _tag: "None" }, "::").message).toContain("TCP [::]:51348")
    for (const loopback of ["127.0.0.1", "127.8.0.1", "::1"]) {
      expect(listening({ _tag: "None" }, loopback)).toMatchObject({
        severity: "ok",
        message: expect.stringContaining("every user of this machine") as string
      })
    }
  })

  it("with a secret is good, with a certificate while that is valid", () => {
    expect(listening({ _tag: "Secret" }).severity).toBe("ok")
    const having = (notAfter: number) => listening({ _tag: "Certificate", subject: "CN=alpha", notAfter })
    expect(having(now + 99 * day)).toMatchObject({
      severity: "ok",
      message: expect.stringContaining("CN=alpha is valid until 2030-04-24") as string
    })
    expect(having(now + day).severity).toBe("warning")
    expect(having(now - day).severity).toBe("problem")
  })

  it("in the file system is good when its directory is private", () => {
    expect(listening({ _tag: "FileMode", mode: 0o700 }, "/run/node.sock", "unix").severity).toBe("ok")
    expect(listening({ _tag: "FileMode", mode: 0o755 }, "/run/node.sock", "unix")).toMatchObject({
      severity: "problem",
      message: expect.stringContaining("mode 755") as string
    })
  })

  it("for datagrams is good, and one that does not answer is doubtful", () => {
    expect(listening({ _tag: "Datagrams" }, "0.0.0.0", "udp").severity).toBe("ok")
    expect(listening({ _tag: "Announcements" }, "0.0.0.0").severity).toBe("ok")
    expect(listening({ _tag: "Unknown", reason: "silence" }).severity).toBe("warning")
    expect(changed({ sockets: [] })).toMatchObject([{ severity: "ok" }])
  })
})
