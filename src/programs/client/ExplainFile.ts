/** Says where the jobs of a program are, by its recover file and by what its nodes keep; for the command. */
import { type Duration, Effect, Layer } from "effect"
import type { InvalidOption } from "../../domain/ClusterError.ts"
import type { RecoverFileFailed } from "../../domain/RecoverError.ts"
import * as ExplainJobs from "../../domain/recovery/ExplainJobs.ts"
import * as RecoverFile from "../../domain/recovery/RecoverFile.ts"
import * as NodeLinkSocket from "../../layers/link/NodeLinkSocket.ts"
import * as KeptLook from "../../layers/recovery/KeptLook.ts"
import * as RecoverFileDisk from "../../layers/recovery/RecoverFileDisk.ts"
import * as Credentials from "../../services/Credentials.ts"
import * as ClusterOptions from "./ClusterOptions.ts"
import * as OptionChecks from "./OptionChecks.ts"

/** What is asked. */
export interface ExplainOptions extends ClusterOptions.CredentialOptions {
  /** Number of a job; undefined for all that have not been handed over. */
  readonly job: number | undefined
  /** How long nodes have to tell what they keep. */
  readonly timeout: Duration.Input
}

/** What is known. */
export interface Explained {
  readonly file: string
  /** User, host and process that wrote the file. */
  readonly client: string
  /** Who writes it now: that program or one that recovers; "" for nobody. */
  readonly writer: string
  /** Whether the file has the jobs of its program, or only its nodes know them. */
  readonly isDurable: boolean
  /** What is damaged in the file. */
  readonly problems: ReadonlyArray<string>
  readonly nodes: ReadonlyArray<{
    readonly address: string
    readonly state: ExplainJobs.ToldNode["state"]
    readonly reason: string
    /** Jobs that it told of. */
    readonly jobs: number
  }>
  /** How many jobs are in each state. */
  readonly counts: Readonly<Record<ExplainJobs.JobState, number>>
  readonly jobs: ReadonlyArray<ExplainJobs.ExplainedJob>
}

/** Reads the file and asks its nodes; takes nothing. */
export const explain = Effect.fnUntraced(function*(
  path: string,
  { job, timeout, ...options }: ExplainOptions
): Effect.fn.Return<Explained, RecoverFileFailed | InvalidOption> {
  const timeoutMillis = yield* Effect.fromResult(OptionChecks.millisOf("timeout", timeout))
  const file = yield* RecoverFileDisk.look(path)
  const { credentials } = yield* Effect.fromResult(ClusterOptions.credentialsOf(options, file.header.credentials))
  const nodes = yield* KeptLook.askAll(file, timeoutMillis).pipe(
    Effect.provide(Layer.provide(NodeLinkSocket.layer, Credentials.layer(credentials)))
  )
  const all = ExplainJobs.explain(file, nodes)
  return {
    file: path,
    client: file.header.client,
    writer: RecoverFileDisk.userOf(file)?.client ?? "",
    isDurable: file.queues.size > 0,
    problems: file.problems,
    nodes: nodes.map(({ jobs, name, reason, state }) => ({
      address: RecoverFile.addressIn(name),
      state,
      reason,
      jobs: jobs.length
    })),
    counts: ExplainJobs.tally(file, all),
    jobs: job === undefined ? all : ExplainJobs.find(file, all, job)
  }
})

/** Jobs that are listed; of more, the first. */
const mostLines = 100

const counted = (count: number, thing: string): string => `${count} ${thing}${count === 1 ? "" : "s"}`

const headOf = ({ client, counts, isDurable, writer }: Explained): string => {
  const who = writer === ""
    ? `${client}, which is gone`
    : writer === client
    ? `${client}, which runs`
    : `${client}, recovered by ${writer}`
  const states = Object.entries(counts).flatMap(([state, count]) => count === 0 ? [] : [`${count} ${state}`])
  const what = states.length === 0 ? "no jobs are known" : `jobs: ${states.join(", ")}`
  return `${who}; ${what}${isDurable ? "" : " (what was never sent is not in the file: its cluster was not durable)"}`
}

/** For people. */
export const format = (explained: Explained): string => {
  const { jobs, nodes, problems } = explained
  const several = new Set(jobs.map(({ computationId }) => computationId)).size > 1
  const more = jobs.length - mostLines
  return [
    headOf(explained),
    ...problems.map((problem) => `the file: ${problem}`),
    ...nodes.map(({ address, jobs: count, reason, state }) =>
      `node ${address}: ${state === "told" ? `tells of ${counted(count, "job")}` : reason}`
    ),
    ...jobs.slice(0, mostLines).map(({ computation, number, text }) =>
      `job ${number}${several ? ` of ${computation}` : ""}: ${text}`
    ),
    ...(more > 0 ? [`${counted(more, "more job")}; all are in the output with --json`] : [])
  ].join("\n")
}
