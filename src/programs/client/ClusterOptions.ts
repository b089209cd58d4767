/** The options of a cluster and of a job, and the checks that turn a mistake into a sentence. */
import { Duration, Result, Schema } from "effect"
import { resolve } from "node:path"
import { InvalidOption } from "../../domain/ClusterError.ts"
import { type Code, ExecutorKind, type JobLimits, maxConcurrency } from "../../domain/Computation.ts"
import * as Datagram from "../../domain/discovery/Datagram.ts"
import * as IpAddress from "../../domain/IpAddress.ts"
import * as LocalAddress from "../../domain/LocalAddress.ts"
import * as NodeAddress from "../../domain/NodeAddress.ts"
import type { CredentialFiles } from "../../domain/recovery/RecoverFile.ts"
import { type Credentials, describe } from "../../domain/security/Credentials.ts"
import { nearest } from "../../domain/Suggestion.ts"
import * as RelativePath from "../../domain/transfer/RelativePath.ts"
import * as Interfaces from "../../layers/discovery/Interfaces.ts"
import * as CredentialsNode from "../../layers/security/CredentialsNode.ts"
import type { Around, LifecycleInput } from "./Computation.ts"
import type { Depend } from "./Depends.ts"
import * as NodeAllocate from "./NodeAllocate.ts"
import type { NodeListEntry } from "./NodeAllocate.ts"

/** Options of a single job, also of all jobs of a cluster. */
export interface JobOptions {
  /**
   * Longest running time, counted from the job's start on its node; then it is killed and ends with `JobTimedOut`.
   * Default: none. A bare number is milliseconds.
   */
  readonly timeout?: Duration.Input | undefined
  /** Cancels the job when it aborts: queued or running. */
  readonly signal?: AbortSignal | undefined
  /** The job's `id`; anything. Default: undefined. */
  readonly id?: unknown
  /**
   * What the job alone takes along. Functions, classes and modules are globals while it runs (`globalThis.render`);
   * instances of the classes arrive as such; files and directories, as they are when the job is sent, lie in its working
   * directory. All of it is gone after the job. Default none.
   */
  readonly depends?: ReadonlyArray<Depend> | undefined
}

/** A file of a job that has arrived. */
export interface ReceivedFile {
  /** The `id` of the job that sent it, or its number. */
  readonly job: unknown
  /** Where it is: absolute. */
  readonly path: string
  readonly sizeBytes: number
}

/** Options of a cluster. */
export interface ClusterOptions {
  /**
   * Where to run: `"local"` for this machine, host names, addresses, each with an optional port ("10.0.0.7:51400");
   * patterns ("192.168.3.*", "*") for nodes that are found; tuples, objects and `NodeAllocate`s that say how much of a
   * node is used. Default `["local"]`.
   */
  readonly nodes?: NodeListEntry | ReadonlyArray<NodeListEntry> | undefined
  /** Port of `dispynode` on nodes listed without one. Default 51348. */
  readonly nodePort?: number | undefined
  /**
   * Addresses of this machine, of each kind of IP one or several: connections to nodes go out from them, from the one
   * whose network the node is in where there are several; and their networks are searched for nodes that patterns in
   * `nodes` mean. Default: as the system chooses, and all. Patterns are looked for by UDP: broadcast (IPv4) and multicast
   * (IPv6) to `nodePort`; announcements, and the connections of nodes that dial out, come to port 51347.
   */
  readonly ipAddr?: string | ReadonlyArray<string> | undefined
  /**
   * Addresses or names at which nodes behind a `dispynetrelay` reach this machine, if not the one that their relay sees
   * (UDP port 51347 there is to be forwarded here). Default none: what comes through the relay does without.
   */
  readonly extIpAddr?: string | ReadonlyArray<string> | undefined
  /**
   * How often nodes are looked for after the first seconds, from 1 s to 1000 s: pings for patterns, and another look up
   * of names, each of whose addresses is a node. Default: not again; nodes that start later announce themselves.
   */
  readonly pingInterval?: Duration.Input | undefined
  /** Multicast (group 239.255.61.59) instead of broadcast also for IPv4; nodes must do the same. Default false. */
  readonly ipv4UdpMulticast?: boolean | undefined
  /**
   * The word that lets this client in at nodes that were started with the same one, of 16 characters or more: it
   * encrypts and authenticates every connection. Better kept in a file or in the environment. Default: `DISPY_SECRET`,
   * or what the file `DISPY_SECRET_FILE` says; else none.
   */
  readonly secret?: string | undefined
  /** File with the `secret`, readable by its owner only. Default none. */
  readonly secretFile?: string | undefined
  /**
   * File with this client's certificate in PEM form, instead of a secret. Without `cafile` all programs have the same
   * one. Default: `DISPY_CERTFILE`.
   */
  readonly certfile?: string | undefined
  /** File with the certificate's private key, without a password. Default: `DISPY_KEYFILE`, else the same file. */
  readonly keyfile?: string | undefined
  /**
   * File with the authority that the nodes' certificates are from; nodes then have to be those that their certificates
   * name. Default: `DISPY_CAFILE`.
   */
  readonly cafile?: string | undefined
  /**
   * Take nodes on other machines that dial out (`dispynode --scheduler-node`) without a secret or certificate: whoever
   * reaches TCP port 51347 can pretend to be a node. Default false: then such nodes of this machine only.
   */
  readonly insecure?: boolean | undefined
  /** Slots of the "local" node; 0 for one per core, negative to leave that many cores free. Default 0. */
  readonly cpus?: number | undefined
  /** Name of the cluster in messages. Default: the computation's. */
  readonly name?: string | undefined
  /** Default `timeout` of its jobs. */
  readonly timeout?: Duration.Input | undefined
  /**
   * How long a cancelled or overdue job may take to end by itself, after `dispy.signal` fired or it got SIGTERM,
   * before it is killed with all it started. Default 1 second.
   */
  readonly grace?: Duration.Input | undefined
  /** Whether a job may run again elsewhere when its node is lost while it may have been running. Default false. */
  readonly reentrant?: boolean | undefined
  /**
   * How often nodes tell what they have to spare (`availInfo`), from 100 ms to 1000 s; a node that is silent for five of
   * them is lost. Default: as each node does by itself, every 10 seconds.
   */
  readonly pulseInterval?: Duration.Input | undefined
  /** Bytes of stdout, and of stderr, kept per job. Default 1 MiB. */
  readonly outputLimit?: number | undefined
  /**
   * What jobs run in: `"process"`, each slot a process of its own that can always be killed alone; or `"thread"`, the
   * slots of a node threads of one process, which share memory (`SharedArrayBuffer`). Default `"process"`.
   */
  readonly executor?: ExecutorKind | undefined
  /**
   * Jobs that a slot runs at a time on its event loop, 1 to 1,000: for jobs that wait (for the network, a disk, another
   * program) rather than compute. They share a process, its globals and its fate. Default 1.
   */
  readonly concurrency?: number | undefined
  /**
   * What the computation takes along: functions and classes, which it then may use by their names; instances, for their
   * classes; modules (`Depends.module`). Arguments and results that are instances of these classes arrive as instances.
   * Paths and `file:` URLs of files and directories, which lie in the working directory of its jobs: what is below the
   * current directory keeps its path, anything else its last name. Links travel as what they lead to, empty directories
   * not at all. Content that a node has already is not sent again.
   * Default none.
   */
  readonly depends?: ReadonlyArray<Depend> | undefined
  /**
   * Runs once on every node before its first job, in the jobs' working directory and in a process of its own (with
   * `executor: "thread"` in that of the threads). What it returns is `dispy.shared` in jobs, `setupSlot` and `cleanup`;
   * the globals that it makes are there as well. A number other than 0, an error or no end within `setupTimeout`: the
   * node is not used. Default none.
   */
  readonly setup?: LifecycleInput | undefined
  /** Runs in every slot before its first job, for what cannot be copied there: connections, functions. Default none. */
  readonly setupSlot?: LifecycleInput | undefined
  /**
   * Whether the working directory goes when the cluster is closed (default true), or a function that runs once on every
   * node then, after the last job and before the files go.
   */
  readonly cleanup?: boolean | LifecycleInput | undefined
  /** Arguments of these three, on nodes whose entry in `nodes` has none. Default none. */
  readonly setupArgs?: ReadonlyArray<unknown> | undefined
  /** How long each of these three may take. Default 10 minutes. */
  readonly setupTimeout?: Duration.Input | undefined
  /**
   * Working directory of the jobs, relative to a directory of your own on each node: clusters with the same share it,
   * and with `cleanup: false` the next finds its files there. Default: a fresh one for each cluster.
   */
  readonly destPath?: string | undefined
  /**
   * Largest file in bytes that is sent to nodes, or taken from jobs (`dispy.sendFile`); 0 for any. Nodes have a limit of
   * their own (`--max-file-size`). Default 0.
   */
  readonly maxFileSize?: number | undefined
  /** Where files go that jobs send with `dispy.sendFile`. Default: the current directory. */
  readonly filesDirectory?: string | undefined
  /** Called for every file of a job that has arrived. What it throws is logged. */
  readonly onFile?: ((file: ReceivedFile) => void) | undefined
  /**
   * File by which the results of jobs are to be had when this program dies: with `recoverJobs`, or `dispy recover`.
   * It is there from when a node other than "local" is used until the cluster is closed, and only its owner can read it.
   * With it nodes go on with the jobs of a program that died, and keep what comes of them. `false` for none: then they
   * end such jobs. Default `_dispy_YYYYMMDDHHMMSS` in the current directory.
   */
  readonly recoverFile?: string | false | undefined
}

/** Checked options. */
export interface CheckedOptions {
  readonly nodes: ReadonlyArray<NodeAllocate.EntryRule>
  /** Whether the nodes were given, not taken by default. */
  readonly isListed: boolean
  readonly nodePort: number
  readonly ipAddr: ReadonlyArray<string>
  readonly extIpAddr: ReadonlyArray<string>
  readonly pingMillis: number | undefined
  readonly ipv4UdpMulticast: boolean
  readonly credentials: Credentials
  /** Whether nodes on other machines may park connections though there are no credentials. */
  readonly isInsecure: boolean
  /** Absolute paths of the files that `credentials` are from. */
  readonly credentialFiles: CredentialFiles
  /** Absolute; undefined for one of its own name, false for none. */
  readonly recoverFile: string | false | undefined
  readonly pulseMillis: number | undefined
  readonly localCpus: number
  readonly name: string | undefined
  readonly timeoutMillis: number
  readonly isReentrant: boolean
  readonly limits: JobLimits
  readonly around: Around
  readonly destPath: string | undefined
  readonly keepFiles: boolean
  /** 0 for any. */
  readonly maxFileBytes: number
  /** Absolute. */
  readonly filesDirectory: string
  readonly onFile: ((file: ReceivedFile) => void) | undefined
  /** What was taken otherwise than it was written. */
  readonly notes: ReadonlyArray<string>
  readonly executor: ExecutorKind
  readonly concurrency: number
}

const known: ReadonlySet<string> = new Set<keyof ClusterOptions>([
  "nodes",
  "nodePort",
  "ipAddr",
  "extIpAddr",
  "pingInterval",
  "ipv4UdpMulticast",
  "secret",
  "secretFile",
  "certfile",
  "keyfile",
  "cafile",
  "insecure",
  "cpus",
  "name",
  "timeout",
  "grace",
  "reentrant",
  "pulseInterval",
  "outputLimit",
  "depends",
  "setup",
  "setupSlot",
  "cleanup",
  "setupArgs",
  "setupTimeout",
  "destPath",
  "maxFileSize",
  "filesDirectory",
  "onFile",
  "recoverFile",
  "executor",
  "concurrency"
])

const mebibyte = 1024 * 1024

/** The largest timeout that fits the protocol, about 49 days. */
const maxMillis = 0xffffffff

/** The longest timer of JavaScript. */
const maxTimerMillis = 0x7fffffff

const fail = (option: string, reason: string) => Result.fail(new InvalidOption({ option, reason }))

/** A duration in whole milliseconds, rounded up; 0 for "infinity". */
export const millisOf = (
  option: string,
  input: Duration.Input
): Result.Result<number, InvalidOption> => {
  const duration = Duration.fromInput(input)
  const millis = duration._tag === "Some" ? Duration.toMillis(duration.value) : Number.NaN
  if (Number.isNaN(millis) || millis < 0) {
    return fail(option, `${JSON.stringify(input)} is not a duration; write "5 seconds", or a number of milliseconds`)
  }
  if (millis === Infinity) return Result.succeed(0)
  if (millis > maxMillis) return fail(option, `${millis} ms is more than the longest possible, 49 days`)
  return Result.succeed(Math.ceil(millis))
}

/** Checks a job's timeout: milliseconds, 0 for none. */
export const timeoutOf = (
  timeout: Duration.Input | undefined,
  byDefault: number
): Result.Result<number, InvalidOption> => {
  if (timeout === undefined) return Result.succeed(byDefault)
  return Result.flatMap(
    millisOf("timeout", timeout),
    (millis) =>
      millis === 0 && Duration.isZero(Duration.fromInputUnsafe(timeout))
        ? fail("timeout", "0 leaves a job no time; leave it out for no timeout")
        : Result.succeed(millis)
  )
}

/** Dispy writes seconds, JavaScript milliseconds: the range tells them apart. */
const intervalOf = (
  option: string,
  input: Duration.Input | undefined,
  { least, leastText }: { readonly least: number; readonly leastText: string }
): Result.Result<number | undefined, InvalidOption> =>
  input === undefined ? Result.succeed(undefined) : Result.flatMap(millisOf(option, input), (millis) => {
    if (millis >= least && millis <= 1_000_000) return Result.succeed(millis)
    const hint = typeof input === "number" && input > 0 && input <= 1000
      ? `; did you mean "${input} second${input === 1 ? "" : "s"}"?`
      : `; it is from ${leastText} to 1000 seconds`
    return fail(option, `${JSON.stringify(input)} is ${millis} ms${hint}`)
  })

/** One text or several, each of which is right. */
const textsOf = (
  option: string,
  value: string | ReadonlyArray<string> | undefined,
  isRight: (text: string) => boolean,
  what: string
): Result.Result<ReadonlyArray<string>, InvalidOption> => {
  const texts: ReadonlyArray<unknown> = value === undefined ? [] : typeof value === "string" ? [value] : value
  if (!Array.isArray(texts)) return fail(option, "it is an address, or a list of them")
  const wrong: unknown = texts.find((text) => typeof text !== "string" || !isRight(text))
  return wrong === undefined
    ? Result.succeed(texts as ReadonlyArray<string>)
    : fail(option, `${JSON.stringify(wrong)} is not ${what}`)
}

const integer = (
  option: string,
  value: number | undefined,
  byDefault: number,
  [least, most]: readonly [number, number]
): Result.Result<number, InvalidOption> => {
  if (value === undefined) return Result.succeed(byDefault)
  return Number.isInteger(value) && value >= least && value <= most
    ? Result.succeed(value)
    : fail(option, `${String(value)} is not a whole number from ${least} to ${most}`)
}

/** A value of this JavaScript type, or none. */
export const typed = <A>(
  option: string,
  value: A | undefined,
  type: "string" | "boolean" | "function"
): Result.Result<A | undefined, InvalidOption> =>
  value === undefined || typeof value === type
    ? Result.succeed(value)
    : fail(option, `${JSON.stringify(value) ?? String(value)} is not a ${type}`)

/** A directory below the client's own on a node. */
const destPathOf = (value: string | undefined): Result.Result<string | undefined, InvalidOption> =>
  Result.flatMap(typed("destPath", value, "string"), (text) => {
    if (text === undefined) return Result.succeed(undefined)
    // As dispy does it: the directory is below the client's own in any case.
    const relative = text.replace(/^\/+/, "").replace(/\/+$/, "")
    const wrong = RelativePath.problem(relative)
    return wrong === undefined
      ? Result.succeed(relative)
      : fail("destPath", `${JSON.stringify(text)} is refused: ${wrong}`)
  })

const isExecutorKind = Schema.is(ExecutorKind)

const executorOf = (value: ExecutorKind | undefined): Result.Result<ExecutorKind, InvalidOption> => {
  if (value === undefined) return Result.succeed("process")
  if (isExecutorKind(value)) return Result.succeed(value)
  const text = JSON.stringify(value) ?? "it"
  const meant = /thr|work/i.test(text) ? "thread" : "process"
  return fail("executor", `${text} is neither "process" nor "thread"; did you mean "${meant}"?`)
}

/** Checks what cannot be known without the computation. */
export const checkFor = (options: CheckedOptions, code: Code): Result.Result<void, InvalidOption> =>
  options.executor === "thread" && code._tag === "ProgramCode"
    ? fail("executor", "a program is a process of its own and does not run in a thread; leave the option out")
    : Result.void

/** A copy of a list. */
export const listed = (
  option: string,
  value: ReadonlyArray<unknown> | undefined
): Result.Result<ReadonlyArray<unknown>, InvalidOption> =>
  value === undefined || Array.isArray(value) ? Result.succeed([...value ?? []]) : fail(option, "it is a list")

const dependsOf = (value: ReadonlyArray<Depend> | undefined): Result.Result<ReadonlyArray<unknown>, InvalidOption> =>
  Result.flatMap(listed("depends", value), (entries) => {
    const wrong = entries.find((entry): entry is URL => entry instanceof URL && entry.protocol !== "file:")
    return wrong === undefined
      ? Result.succeed(entries)
      : fail(
        "depends",
        `${wrong.href} is not a file of this machine; write a path, or a URL that begins with "file:"`
      )
  })

/** A function, with or without captures, or a module's export. */
const lifecycle = (
  option: string,
  value: LifecycleInput | undefined
): Result.Result<LifecycleInput | undefined, InvalidOption> => {
  const isFine = value === undefined || typeof value === "function" || value?._tag === "FunctionComputation" ||
    value?._tag === "ModuleComputation"
  return isFine
    ? Result.succeed(value)
    : fail(option, "it is a function, Computation.fromFunction(…) or Computation.fromModule(…)")
}

const defaultSetupTimeout = "10 minutes"

const aroundOf = (options: ClusterOptions): Result.Result<Around, InvalidOption> =>
  Result.gen(function*() {
    const setupTimeoutMillis = yield* millisOf("setupTimeout", options.setupTimeout ?? defaultSetupTimeout)
    if (setupTimeoutMillis === 0 || setupTimeoutMillis > maxTimerMillis) {
      return yield* fail("setupTimeout", "it is a time of more than 0 and at most 24 days")
    }
    return {
      depends: yield* dependsOf(options.depends),
      setup: yield* lifecycle("setup", options.setup),
      setupSlot: yield* lifecycle("setupSlot", options.setupSlot),
      cleanup: typeof options.cleanup === "boolean" ? undefined : yield* lifecycle("cleanup", options.cleanup),
      setupArgs: yield* listed("setupArgs", options.setupArgs),
      setupTimeoutMillis
    }
  })

/** The options that say who a client is. */
export type CredentialOptions = Pick<ClusterOptions, "secret" | "secretFile" | "certfile" | "keyfile" | "cafile">

const fileOptions = ["secretFile", "certfile", "keyfile", "cafile"] as const

const filesOf = (given: CredentialsNode.GivenCredentials): CredentialFiles =>
  Object.fromEntries(fileOptions.flatMap((option) => {
    const one = given[option]
    return one === undefined ? [] : [[option, resolve(one.text)]]
  }))

/** Credentials, and the files that they are from; `byDefault` counts more than the environment. */
export const credentialsOf = (
  options: CredentialOptions,
  byDefault: CredentialFiles = {}
): Result.Result<Pick<CheckedOptions, "credentials" | "credentialFiles">, InvalidOption> =>
  Result.gen(function*() {
    const told: { -readonly [K in keyof CredentialsNode.GivenCredentials]?: CredentialsNode.Given } = {}
    for (const option of ["secret", ...fileOptions] as const) {
      const text = yield* typed(option, options[option], "string")
      if (text !== undefined) told[option] = { where: option, text }
    }
    if (Object.keys(told).length === 0) {
      for (const option of fileOptions) {
        const text = byDefault[option]
        if (text !== undefined) told[option] = { where: option, text }
      }
    }
    const given = CredentialsNode.given(told, process.env, ["DISPY_"])
    const credentials = yield* Result.mapError(
      CredentialsNode.read(given),
      ({ reason, where }) => new InvalidOption({ option: where, reason })
    )
    return { credentials, credentialFiles: filesOf(given) }
  })

const ipAddrOf = (value: ClusterOptions["ipAddr"]): Result.Result<ReadonlyArray<string>, InvalidOption> =>
  Result.flatMap(
    textsOf(
      "ipAddr",
      value,
      (text) => IpAddress.forms(text).length > 0,
      "an IP address; write one of this machine's"
    ),
    (addresses) => {
      const interfaces = Interfaces.read()
      const wrong = addresses.find((address) => !LocalAddress.isOwn(address, interfaces))
      if (wrong === undefined) return Result.succeed(addresses)
      const all = interfaces.map(({ address }) => address).join(", ")
      return fail(
        "ipAddr",
        `${JSON.stringify(wrong)} is not an address of this machine; those of interfaces that are up are ${all}`
      )
    }
  )

const insecureOf = (
  value: boolean | undefined,
  credentials: Credentials
): Result.Result<boolean, InvalidOption> =>
  Result.flatMap(typed("insecure", value, "boolean"), (isInsecure = false) =>
    isInsecure && credentials._tag !== "None"
      ? fail("insecure", `it makes no sense with ${describe(credentials)}; leave one of them out`)
      : Result.succeed(isInsecure))
const recoverFileOf = (
  value: ClusterOptions["recoverFile"]
): Result.Result<string | false | undefined, InvalidOption> => {
  if (value === undefined || value === false) return Result.succeed(value)
  return typeof value === "string" && value !== ""
    ? Result.succeed(resolve(value))
    : fail("recoverFile", `${JSON.stringify(value) ?? "it"} is neither a path nor false`)
}

/** Refuses options that there are not. */
export const checkNames = (
  options: object,
  names: ReadonlySet<string>,
  whose: string
): Result.Result<void, InvalidOption> => {
  const unknown = Object.keys(options).find((option) => !names.has(option))
  if (unknown === undefined) return Result.void
  const meant = nearest(unknown, [...names])
  const hint = meant === undefined ? "" : `; did you mean ${meant}?`
  return fail(unknown, `there is no such option${hint}; the options of ${whose} are ${[...names].join(", ")}`)
}

/** Checks everything a user can write; the first mistake is named. */
export const check = (options: ClusterOptions): Result.Result<CheckedOptions, InvalidOption> =>
  Result.gen(function*() {
    yield* checkNames(options, known, "a cluster")
    const { credentialFiles, credentials } = yield* credentialsOf(options)
    const nodePort = yield* integer("nodePort", options.nodePort, NodeAddress.defaultNodePort, [1, 65535])
    return {
      around: yield* aroundOf(options),
      keepFiles: options.cleanup === false,
      nodes: yield* NodeAllocate.rulesOf(options.nodes ?? ["local"], nodePort),
      isListed: options.nodes !== undefined,
      nodePort,
      ipAddr: yield* ipAddrOf(options.ipAddr),
      extIpAddr: yield* textsOf("extIpAddr", options.extIpAddr, Datagram.isHost, "an IP address or a host name"),
      pingMillis: yield* intervalOf("pingInterval", options.pingInterval, { least: 1000, leastText: "1" }),
      ipv4UdpMulticast: (yield* typed("ipv4UdpMulticast", options.ipv4UdpMulticast, "boolean")) ?? false,
      pulseMillis: yield* intervalOf("pulseInterval", options.pulseInterval, { least: 100, leastText: "100 ms" }),
      credentials,
      credentialFiles,
      isInsecure: yield* insecureOf(options.insecure, credentials),
      recoverFile: yield* recoverFileOf(options.recoverFile),
      localCpus: yield* integer("cpus", options.cpus, 0, [-1024, 1024]),
      name: yield* typed("name", options.name, "string"),
      timeoutMillis: yield* timeoutOf(options.timeout, 0),
      isReentrant: (yield* typed("reentrant", options.reentrant, "boolean")) ?? false,
      limits: {
        graceMillis: options.grace === undefined ? 1000 : yield* millisOf("grace", options.grace),
        outputLimitBytes: yield* integer("outputLimit", options.outputLimit, mebibyte, [0, 16 * mebibyte])
      },
      destPath: yield* destPathOf(options.destPath),
      maxFileBytes: yield* integer("maxFileSize", options.maxFileSize, 0, [0, Number.MAX_SAFE_INTEGER]),
      filesDirectory: resolve((yield* typed("filesDirectory", options.filesDirectory, "string")) ?? "."),
      onFile: yield* typed("onFile", options.onFile, "function"),
      notes: options.destPath?.startsWith("/") === true
        ? [
          `destPath ${options.destPath} is relative to a directory of your own on each node: its leading "/" is ignored`
        ]
        : [],
      executor: yield* executorOf(options.executor),
      concurrency: yield* integer("concurrency", options.concurrency, 1, [1, maxConcurrency])
    }
  })
