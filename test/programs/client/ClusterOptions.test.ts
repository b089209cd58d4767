import { Result } from "effect"
import { describe, expect, it } from "vitest"
import * as ClusterOptions from "../../../src/programs/client/ClusterOptions.ts"

describe("cluster options", () => {
  it("are those of this machine alone by default", () => {
    const { nodes, ...rest } = Result.getOrThrow(ClusterOptions.check({}))
    expect(nodes.map(({ target }) => target)).toEqual([{ _tag: "Local" }])
    expect(rest).toEqual({
      around: {
        depends: [],
        setup: undefined,
        setupSlot: undefined,
        cleanup: undefined,
        setupArgs: [],
        setupTimeoutMillis: 600_000
      },
      keepFiles: false,
      isListed: false,
      nodePort: 51348,
      credentialFiles: {},
      credentials: { _tag: "None" },
      ipAddr: [],
      extIpAddr: [],
      pingMillis: undefined,
      ipv4UdpMulticast: false,
      isInsecure: false,
      pulseMillis: undefined,
      recoverFile: undefined,
      durable: false,
      localCpus: 0,
      name: undefined,
      timeoutMillis: 0,
      isReentrant: false,
      limits: { graceMillis: 1000, outputLimitBytes: 1024 * 1024 },
      destPath: undefined,
      maxFileBytes: 0,
      filesDirectory: process.cwd(),
      onFile: undefined,
      notes: [],
      executor: "process",
      concurrency: 1
    })
  })

  it("take a destPath below the client's own directory, and say so of one that looks absolute", () => {
    const checked = Result.getOrThrow(ClusterOptions.check({ destPath: "/data/of mine/" }))
    expect(checked.destPath).toBe("data/of mine")
    expect(checked.notes).toEqual([expect.stringContaining("its leading \"/\" is ignored")])
  })

  it("take durations as text and as milliseconds", () => {
    expect(Result.getOrThrow(ClusterOptions.check({ timeout: "2 seconds", grace: 0 }))).toMatchObject({
      timeoutMillis: 2000,
      limits: { graceMillis: 0 }
    })
    expect(Result.getOrThrow(ClusterOptions.check({ timeout: Infinity })).timeoutMillis).toBe(0)
  })

  it.each([
    [{ destPath: "../x" }, "destPath", "leads elsewhere"],
    [{ destPath: "C:/x" }, "destPath", "drive letter"],
    [{ destPath: "" }, "destPath", "empty"],
    [{ maxFileSize: -1 }, "maxFileSize", "whole number"],
    [{ depends: [new URL("https://example.org/x")] }, "depends", "is not a file of this machine"],
    [{ depend: [] }, "depend", "did you mean depends?"],
    [{ timeout: 0 }, "timeout", "no time"],
    [{ depends: "data.csv" }, "depends", "it is a list"],
    [{ setup: 5 }, "setup", "it is a function"],
    [{ setupArgs: 5 }, "setupArgs", "it is a list"],
    [{ setupTimeout: 0 }, "setupTimeout", "more than 0"],
    [{ cleanup: "yes" }, "cleanup", "it is a function"],
    [{ timeout: "soon" }, "timeout", "\"soon\" is not a duration"],
    [{ timeout: "60 days" }, "timeout", "49 days"],
    [{ grace: -1 }, "grace", "not a duration"],
    [{ executor: "Threads" as "thread" }, "executor", "did you mean \"thread\"?"],
    [{ concurrency: 0 }, "concurrency", "whole number from 1 to 1000"],
    [{ cpus: 1.5 }, "cpus", "whole number"],
    [{ nodePort: 0 }, "nodePort", "1 to 65535"],
    [{ outputLimit: -1 }, "outputLimit", "whole number"],
    [{ nodes: [] }, "nodes", "empty"],
    [{ nodes: [7] }, "nodes", "7 is no entry"],
    [{ nodes: [["host", 0]] }, "nodes", "port 0"],
    [{ nodes: [["host", 1, 1.5]] }, "nodes", "cpus 1.5"],
    [{ nodes: [["host", 1, 1, "file"]] }, "nodes", "depends \"file\" is not a list"],
    [{ nodes: { host: "a", setup_args: [] } }, "nodes", "setup_args"],
    [{ nodes: { host: "*", allocate: 4 } }, "nodes", "not a function"],
    [{ nodes: "192.168.3.*:0" }, "nodes", "1 to 65535"],
    [{ pingInterval: 5 }, "pingInterval", "5 is 5 ms; did you mean \"5 seconds\"?"],
    [{ pingInterval: "1 hour" }, "pingInterval", "1 to 1000 seconds"],
    [{ ipAddr: "eth0" }, "ipAddr", "\"eth0\" is not an IP address"],
    [{ ipAddr: ["10.0.0.7", 3 as never] }, "ipAddr", "3 is not an IP address"],
    [
      { ipAddr: ["127.0.0.1", "192.0.2.1"] },
      "ipAddr",
      "\"192.0.2.1\" is not an address of this machine; those of interfaces that are up are"
    ],
    [{ insecure: 1 as never }, "insecure", "1 is not a boolean"],
    [
      { insecure: true, secret: "correct horse battery staple" },
      "insecure",
      "it makes no sense with a secret; leave one of them out"
    ],
    [{ extIpAddr: "http://me" }, "extIpAddr", "not an IP address or a host name"],
    [{ pulseInterval: 1 }, "pulseInterval", "1 is 1 ms; did you mean \"1 second\"?"],
    [{ pulseInterval: "1 hour" }, "pulseInterval", "100 ms to 1000 seconds"],
    [{ nodes: "a:b:c" }, "nodes", "not an IPv6 address"],
    [{ name: 4 }, "name", "not a string"],
    [{ reentrant: "yes" }, "reentrant", "not a boolean"],
    [{ node_port: 51348 }, "node_port", "nodePort"]
  ])("refuse %j by name", (options, option, reason) => {
    const checked = ClusterOptions.check(options as never)
    expect(Result.isFailure(checked) && checked.failure).toMatchObject({
      _tag: "InvalidOption",
      option,
      message: expect.stringContaining(reason) as string
    })
  })
})

describe("options that do not go with a computation", () => {
  it("are refused: threads for a program", () => {
    const checked = Result.getOrThrow(ClusterOptions.check({ executor: "thread" }))
    const refused = ClusterOptions.checkFor(checked, { _tag: "ProgramCode", program: "true" })
    expect(Result.isFailure(refused) && refused.failure.message).toContain("does not run in a thread")
    const fine = ClusterOptions.checkFor(checked, { _tag: "ModuleCode", code: "", exportName: "default" })
    expect(Result.isSuccess(fine)).toBe(true)
  })
})
