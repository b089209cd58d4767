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
      terms: undefined,
      isReentrant: false,
      limits: { graceMillis: 1000, outputLimitBytes: 1024 * 1024 },
      memory: { memoryKiB: 0, slotLimits: undefined },
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

  it("take retries as a number, or with when and after what", () => {
    const retryOf = (retries: ClusterOptions.ClusterOptions["retries"]) =>
      Result.getOrThrow(ClusterOptions.check({ retries })).terms?.retry
    expect(retryOf(0)).toBeUndefined()
    expect(retryOf(3)).toEqual({ times: 3, delayMillis: 100, factor: 2, maxDelayMillis: 30_000, on: [] })
    expect(retryOf({ times: 1, delay: "1 minute", factor: 1, on: ["NodeLost"] }))
      .toEqual({ times: 1, delayMillis: 60_000, factor: 1, maxDelayMillis: 60_000, on: ["NodeLost"] })
    expect(Result.getOrThrow(ClusterOptions.check({ queueTimeout: "1 second", totalTimeout: 5000 })).terms)
      .toEqual({ retry: undefined, queueMillis: 1000, totalMillis: 5000 })
    expect(Result.getOrThrow(ClusterOptions.check({})).terms).toBeUndefined()
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
    [{ queueTimeout: 0 }, "queueTimeout", "no time"],
    [{ totalTimeout: "60 days" }, "totalTimeout", "49 days"],
    [{ retries: -1 }, "retries", "whole number from 0 to 1000"],
    [{ retries: "3" as never }, "retries", "\"3\" is neither a number nor { times, delay, … }"],
    [{ retries: {} }, "retries.times", "is missing"],
    [{ retries: { times: 3, dealy: 1 } }, "dealy", "did you mean delay?"],
    [{ retries: { times: 3, delay: "soon" } }, "retries.delay", "not a duration"],
    [{ retries: { times: 3, factor: 0.5 } }, "retries.factor", "0.5 is not a number from 1 to 100"],
    [
      { retries: { times: 3, delay: "1 minute", maxDelay: "1 second" } },
      "retries.maxDelay",
      "less than the first delay"
    ],
    [{ retries: { times: 3, on: ["JobFail"] } }, "retries.on", "did you mean JobFailed?"],
    [{ retries: { times: 3, on: [] } }, "retries.on", "it is empty"],
    [{ executor: "Threads" as "thread" }, "executor", "did you mean \"thread\"?"],
    [{ concurrency: 0 }, "concurrency", "whole number from 1 to 1000"],
    [{ memory: 512 }, "memory", "did you mean 512 * 1024 ** 2 (512 MiB)?"],
    [{ memory: "512 MiB" as never }, "memory", "512 MiB is not a whole number"],
    [{ memory: 64 * 2 ** 20 }, "memory", "96 MiB"],
    [{ memory: 2 ** 30, executor: "thread" }, "memory", "leave one of the options out"],
    [{ memory: 2 ** 30, concurrency: 2 }, "memory", "leave one of the options out"],
    [{ slotMemory: 1 }, "slotMemory", "96 MiB"],
    [{ slotMemory: 2 ** 30, executor: "thread" }, "slotMemory", "use slotJobs"],
    [{ slotJobs: -1 }, "slotJobs", "whole number"],
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
