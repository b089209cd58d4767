/**
 * What is measured together: the steps of a suite run one right after the other in every round, so that a figure and
 * its anchor see the same machine.
 */
import * as SlowLink from "../test/support/SlowLink.ts"
import type { FigureSpec } from "./report/Figure.ts"
import type { StepName } from "./steps.ts"

/** Steps that belong together and the figures made of them. */
export interface Suite {
  readonly name: string
  readonly rounds: number
  readonly steps: ReadonlyArray<StepName>
  readonly figures: ReadonlyArray<FigureSpec>
  /** Why it cannot be measured here; undefined when it can. */
  readonly missing?: () => string | undefined
}

const noop: Suite = {
  name: "noop",
  rounds: 4,
  steps: ["piscina", "noop", "noopEffect", "ipc"],
  figures: [
    {
      title: "no-op jobs one by one, 1,000 outstanding",
      unit: "/s",
      value: "noop.window1000",
      anchor: { title: "Piscina", value: "piscina.window1000" },
      goal: ["ratio", ">=", 0.75],
      aim: ["ratio", ">=", 2]
    },
    {
      title: "the same against Piscina with concurrentTasksPerWorker: 16",
      unit: "/s",
      value: "noop.window1000",
      anchor: { title: "Piscina", value: "piscina.ahead1000" }
    },
    {
      title: "no-op jobs one by one, 40,000 outstanding",
      unit: "/s",
      value: "noop.unbounded",
      anchor: { title: "Piscina", value: "piscina.unbounded" },
      goal: ["ratio", ">=", 0.75],
      aim: ["ratio", ">=", 2]
    },
    {
      title: "Effect API, 1,000 outstanding",
      unit: "/s",
      value: "noopEffect.window1000",
      anchor: { title: "Piscina", value: "piscina.window1000" },
      goal: ["ratio", ">=", 0.75],
      aim: ["ratio", ">=", 2]
    },
    {
      title: "Effect API, 40,000 outstanding",
      unit: "/s",
      value: "noopEffect.unbounded",
      anchor: { title: "Piscina", value: "piscina.unbounded" }
    },
    {
      title: "no-op jobs against process IPC, 1,000 outstanding",
      unit: "/s",
      value: "noop.window1000",
      anchor: { title: "echo over fork", value: "ipc.window1000" }
    },
    { title: "CPU time of the client per no-op job", unit: "µs", value: "noop.clientMicros" },
    { title: "CPU time of the daemon per no-op job", unit: "µs", value: "noop.daemonMicros" }
  ]
}

const map: Suite = {
  name: "map",
  rounds: 3,
  steps: ["piscina", "map"],
  figures: [
    {
      title: "map over 1,000,000 numbers",
      unit: "/s",
      value: "map.promise",
      anchor: { title: "Piscina item by item", value: "piscina.window1000" },
      goal: ["value", ">=", 500_000],
      aim: ["value", ">=", 1_500_000]
    },
    {
      title: "map over 1,000,000 numbers, as a Stream",
      unit: "/s",
      value: "map.stream",
      anchor: { title: "Piscina item by item", value: "piscina.window1000" },
      goal: ["value", ">=", 500_000],
      aim: ["ratio", ">=", 20]
    }
  ]
}

const roundTrip: Suite = {
  name: "roundTrip",
  rounds: 4,
  steps: ["tcpEcho", "roundTrip"],
  figures: [
    {
      title: "idle round trip, median",
      unit: "ms",
      value: "roundTrip.p50",
      anchor: { title: "TCP echo", value: "tcpEcho.p50" },
      goal: ["value", "<=", 1],
      aim: ["ratio", "<=", 3]
    },
    {
      title: "idle round trip, 99th percentile",
      unit: "ms",
      value: "roundTrip.p99",
      anchor: { title: "TCP echo", value: "tcpEcho.p99" },
      goal: ["value", "<=", 5],
      aim: ["value", "<=", 2]
    },
    {
      title: "round trip after 5 ms of rest, median",
      unit: "ms",
      value: "roundTrip.pausedP50",
      anchor: { title: "TCP echo", value: "tcpEcho.pausedP50" }
    }
  ]
}

const cpuJobs: Suite = {
  name: "cpuJobs",
  rounds: 3,
  steps: ["cpuJobs"],
  figures: [
    {
      title: "10 ms CPU jobs, two slots",
      unit: "/s",
      value: "cpuJobs.two10ms",
      anchor: { title: "one slot", value: "cpuJobs.one10ms" },
      goal: ["ratio", ">=", 1.9]
    },
    {
      title: "1 ms CPU jobs, two slots",
      unit: "/s",
      value: "cpuJobs.two1ms",
      anchor: { title: "a loop in one process", value: "cpuJobs.bareOne1ms" },
      aim: ["ratio", ">=", 1.9]
    },
    {
      title: "0.1 ms CPU jobs, two slots",
      unit: "/s",
      value: "cpuJobs.two100us",
      anchor: { title: "a loop in one process", value: "cpuJobs.bareOne100us" },
      aim: ["ratio", ">=", 1.6]
    },
    {
      title: "the same 10 ms in two processes without dispy",
      unit: "/s",
      value: "cpuJobs.bareTwo10ms",
      anchor: { title: "in one", value: "cpuJobs.bareOne10ms" }
    }
  ]
}

const start: Suite = {
  name: "start",
  rounds: 2,
  steps: ["nodeStart", "start"],
  figures: [
    {
      title: "first result of a new cluster on a running node",
      unit: "ms",
      value: "start.clusterFirst",
      goal: ["value", "<=", 150],
      aim: ["value", "<=", 15]
    },
    { title: "the same for the next cluster of the process", unit: "ms", value: "start.clusterNext" },
    {
      title: "embedded cold start: new process to first result",
      unit: "ms",
      value: "start.embedded",
      anchor: { title: "node -e", value: "nodeStart.millis" },
      goal: ["value", "<=", 600],
      aim: ["value", "<=", 350]
    },
    {
      title: "dispynode to its ready line",
      unit: "ms",
      value: "start.dispynodeReady",
      anchor: { title: "node -e", value: "nodeStart.millis" },
      aim: ["value", "<=", 350]
    }
  ]
}

const memory: Suite = {
  name: "memory",
  rounds: 1,
  steps: ["queueMemory", "nodeMemory", "mapMemory"],
  figures: [
    {
      title: "client memory per queued no-op job (1,000,000)",
      unit: "bytes",
      value: "queueMemory.queued",
      goal: ["value", "<=", 600],
      aim: ["value", "<=", 250]
    },
    { title: "the same with someone awaiting its result", unit: "bytes", value: "queueMemory.awaited" },
    { title: "submit of a job that must wait", unit: "µs", value: "queueMemory.submitMicros" },
    {
      title: "growth over a map of 10,000,000 items: live data of the client",
      unit: "MiB",
      value: "mapMemory.liveGrowth",
      goal: ["value", "<=", 10]
    },
    {
      title: "the same: RSS of the client after the first 1,000,000",
      unit: "MiB",
      value: "mapMemory.clientGrowth",
      goal: ["value", "<=", 10]
    },
    {
      title: "the same: RSS of the daemon after the first 1,000,000",
      unit: "MiB",
      value: "mapMemory.daemonGrowth",
      goal: ["value", "<=", 10]
    },
    { title: "highest RSS of the client in that map", unit: "MiB", value: "mapMemory.client" },
    {
      title: "RSS of an idle dispynode without its slots",
      unit: "MiB",
      value: "nodeMemory.idle",
      goal: ["value", "<=", 80],
      aim: ["value", "<=", 60]
    },
    { title: "RSS of it after 100,000 jobs", unit: "MiB", value: "nodeMemory.afterJobs" }
  ]
}

const scheduler: Suite = {
  name: "scheduler",
  rounds: 2,
  steps: ["schedulerCore"],
  figures: ([10, 100, 1000, 10_000] as const).map((nodes) => ({
    title: `scheduler core, ${nodes.toLocaleString("en-US")} nodes x 32 slots`,
    unit: "µs",
    value: `schedulerCore.nodes${nodes}`,
    aim: ["value", "<=", 5]
  }))
}

const programs: Suite = {
  name: "programs",
  rounds: 3,
  steps: ["spawn", "programs"],
  figures: [
    {
      title: "programs (true), two at a time",
      unit: "/s",
      value: "programs.rate",
      anchor: { title: "bare spawn", value: "spawn.rate" },
      aim: ["ratio", ">=", 0.8]
    }
  ]
}

const kill: Suite = {
  name: "kill",
  rounds: 1,
  steps: ["kill"],
  figures: [
    { title: "cancel of an endless loop to its outcome (grace 1 s)", unit: "ms", value: "kill.millis" }
  ]
}

const failover: Suite = {
  name: "failover",
  rounds: 5,
  steps: ["failover"],
  figures: [
    {
      title: "jobs of a node that is killed run elsewhere",
      unit: "ms",
      value: "failover.killedMillis",
      goal: ["value", "<=", 1000]
    },
    {
      title: "jobs of a node that falls silent run elsewhere",
      unit: "pulses",
      value: "failover.silentPulses",
      goal: ["value", "<=", 5.5]
    }
  ]
}

const values: Suite = {
  name: "values",
  rounds: 3,
  steps: ["socket", "values"],
  figures: [
    {
      title: "8 MiB arguments and results, each way",
      unit: "MiB/s",
      value: "values.throughput",
      anchor: { title: "raw socket, one way", value: "socket.throughput" }
    }
  ]
}

const provisional: Suite = {
  name: "provisional",
  rounds: 3,
  steps: ["ipc", "provisional"],
  figures: [
    {
      title: "provisional results of one job, to the callback",
      unit: "/s",
      value: "provisional.callback",
      anchor: { title: "process IPC, 1,000 outstanding", value: "ipc.window1000" },
      goal: ["value", ">=", 50_000]
    },
    {
      title: "the same, iterated",
      unit: "/s",
      value: "provisional.iterated",
      anchor: { title: "process IPC, 1,000 outstanding", value: "ipc.window1000" },
      goal: ["value", ">=", 50_000]
    }
  ]
}

const bulkAnchor = { title: "raw socket pumping zeros", value: "socket.throughput" } as const

const bulk: Suite = {
  name: "bulk",
  rounds: 3,
  steps: ["socket", "hashedPump", "bulk"],
  figures: [
    {
      title: "file of 100 MB to a node, SHA-256 on both sides",
      unit: "MiB/s",
      value: "bulk.put100",
      anchor: bulkAnchor,
      goal: ["ratio", ">=", 0.4],
      aim: ["ratio", ">=", 0.7]
    },
    {
      title: "file of 100 MB from a job",
      unit: "MiB/s",
      value: "bulk.get100",
      anchor: bulkAnchor,
      goal: ["ratio", ">=", 0.4],
      aim: ["ratio", ">=", 0.7]
    },
    {
      title: "file of 1 GB to a node",
      unit: "MiB/s",
      value: "bulk.put1000",
      anchor: bulkAnchor,
      goal: ["ratio", ">=", 0.4],
      aim: ["ratio", ">=", 0.7]
    },
    {
      title: "file of 1 GB from a job",
      unit: "MiB/s",
      value: "bulk.get1000",
      anchor: bulkAnchor,
      goal: ["ratio", ">=", 0.4],
      aim: ["ratio", ">=", 0.7]
    },
    {
      title: "the same without dispy: read, hash, send; receive, hash, write",
      unit: "MiB/s",
      value: "hashedPump.throughput",
      anchor: bulkAnchor
    },
    { title: "SHA-256 alone, one core", unit: "MiB/s", value: "bulk.hash" },
    { title: "writing new files to the disk, synced", unit: "MiB/s", value: "bulk.disk" },
    {
      title: "10,000 files of 10 KB in depends, to the open cluster",
      unit: "/s",
      value: "bulk.filesRate",
      goal: ["value", ">=", 2000]
    },
    {
      title: "bytes sent when the same content is transferred again",
      unit: "bytes",
      value: "bulk.againBytes",
      goal: ["value", "<=", 0]
    },
    {
      title: "argument of 200 MB to a job",
      unit: "MiB/s",
      value: "bulk.valueThere",
      anchor: bulkAnchor
    },
    {
      title: "result of 200 MB from a job",
      unit: "MiB/s",
      value: "bulk.valueBack",
      anchor: bulkAnchor
    }
  ]
}

const withSecret = (title: string, unit: "/s" | "MiB/s", what: "jobs" | "put" | "get"): FigureSpec => ({
  title,
  unit,
  value: `secret.secret-${what}`,
  anchor: { title: "without a secret", value: `secret.plain-${what}` },
  goal: ["ratio", ">=", 0.75]
})

const secret: Suite = {
  name: "secret",
  rounds: 2,
  steps: ["secret"],
  figures: [
    withSecret("no-op jobs one by one with a secret, 1,000 outstanding", "/s", "jobs"),
    withSecret("file to a node with a secret", "MiB/s", "put"),
    withSecret("file from a job with a secret", "MiB/s", "get")
  ]
}

const recover: Suite = {
  name: "recover",
  rounds: 1,
  steps: ["recover"],
  figures: [
    {
      title: "no-op jobs with a recover file, 1,000 outstanding",
      unit: "/s",
      value: "recover.file",
      anchor: { title: "without", value: "recover.none" },
      goal: ["ratio", ">=", 0.85]
    },
    {
      title: "the same with durable: true",
      unit: "/s",
      value: "recover.durable",
      anchor: { title: "without", value: "recover.none" }
    },
    {
      title: "submit of a durable job that must wait (100,000)",
      unit: "µs",
      value: "recover.durableQueueMicros",
      anchor: { title: "not durable", value: "recover.noneQueueMicros" }
    },
    { title: "bytes in the recover file for each of them", unit: "bytes", value: "recover.queueBytes" }
  ]
}

const discovery: Suite = {
  name: "discovery",
  rounds: 3,
  steps: ["discovery"],
  figures: [
    {
      title: "100 nodes on one network, signed datagrams: all found",
      unit: "ms",
      value: "discovery.millis",
      goal: ["value", "<=", 2000]
    }
  ]
}

const slowLink: Suite = {
  name: "slowLink",
  rounds: 1,
  steps: ["slowLink"],
  missing: SlowLink.missing,
  figures: [
    {
      title: "job beside a file over a link of 1 MB/s, longest round trip",
      unit: "ms",
      value: "slowLink.longest",
      goal: ["value", "<=", 500]
    },
    { title: "the same, median", unit: "ms", value: "slowLink.p50" },
    { title: "the file over the link of 0.95 MiB/s", unit: "MiB/s", value: "slowLink.rate" }
  ]
}

/** All suites, in the order of the table. */
export const suites: ReadonlyArray<Suite> = [
  noop,
  map,
  roundTrip,
  cpuJobs,
  start,
  memory,
  scheduler,
  programs,
  values,
  bulk,
  discovery,
  secret,
  recover,
  slowLink,
  provisional,
  kill,
  failover
]
