import { Result } from "effect"
import { describe, expect, it } from "vitest"
import * as ClusterOptions from "../../../src/programs/client/ClusterOptions.ts"

describe("cluster options", () => {
  it("are those of this machine alone by default", () => {
    expect(Result.getOrThrow(ClusterOptions.check({}))).toEqual({
      nodes: [{ _tag: "Local" }],
      localCpus: 0,
      name: undefined,
      timeoutMillis: 0,
      isReentrant: false,
      limits: { graceMillis: 1000, outputLimitBytes: 1024 * 1024 }
    })
  })

  it("take durations as text and as milliseconds", () => {
    expect(Result.getOrThrow(ClusterOptions.check({ timeout: "2 seconds", grace: 0 }))).toMatchObject({
      timeoutMillis: 2000,
      limits: { graceMillis: 0 }
    })
    expect(Result.getOrThrow(ClusterOptions.check({ timeout: Infinity })).timeoutMillis).toBe(0)
  })

  it.each([
    [{ timeout: 0 }, "timeout", "no time"],
    [{ timeout: "soon" }, "timeout", "\"soon\" is not a duration"],
    [{ timeout: "60 days" }, "timeout", "49 days"],
    [{ grace: -1 }, "grace", "not a duration"],
    [{ cpus: 1.5 }, "cpus", "whole number"],
    [{ nodePort: 0 }, "nodePort", "1 to 65535"],
    [{ outputLimit: -1 }, "outputLimit", "whole number"],
    [{ nodes: [] }, "nodes", "empty"],
    [{ nodes: [7] }, "nodes", "list of strings"],
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
