/** What can be wrong with the use of nodes in memory. */
import { Schema } from "effect"
import { nearest } from "../Suggestion.ts"

/** There is no such node. */
export class UnknownTestNode extends Schema.TaggedError<UnknownTestNode>()("UnknownTestNode", {
  node: Schema.String,
  /** Names of the nodes there are. */
  known: Schema.Array(Schema.String)
}) {
  override get message(): string {
    const meant = nearest(this.node, this.known)
    const hint = meant === undefined ? "" : `did you mean ${meant}? `
    const nodes = this.known.length === 0 ? "there is none yet: start one" : `the nodes are ${this.known.join(", ")}`
    return `no node of this test is called ${JSON.stringify(this.node)}; ${hint}${nodes}`
  }
}

/** The node was killed, or its program ended it. */
export class TestNodeDead extends Schema.TaggedError<TestNodeDead>()("TestNodeDead", {
  node: Schema.String,
  /** What was to be done with it. */
  verb: Schema.String
}) {
  override get message(): string {
    return `cannot ${this.verb} node ${this.node}: it is dead; restart it first`
  }
}

/** The job has ended, or will not come to be what a test waits for. */
export class JobPassed extends Schema.TaggedError<JobPassed>()("JobPassed", {
  /** Its number within its cluster. */
  job: Schema.Number,
  status: Schema.String
}) {
  override get message(): string {
    return `job ${this.job} has ended (${this.status}) before it was seen at a node; ` +
      "hold or freeze the node before the job is submitted, and it is there until you release or thaw it"
  }
}

/** What the verbs of `Faults` fail with. */
export type TestNodeError = UnknownTestNode | TestNodeDead
