/** How a node is set up. Flags, environment and defaults are merged in `programs`; nothing below reads them itself. */
import { Context, type Duration, Layer } from "effect"

/** The settings of a node. */
export interface NodeSettings {
  /** Name the node tells clients. */
  readonly name: string
  /** Unique per start, so that a client tells a restarted node from the one before. */
  readonly incarnation: string
  /** Addresses to listen on. */
  readonly addresses: ReadonlyArray<string>
  /** TCP port, the same for all addresses; 0 takes a free one. Default 51348, dispy's. */
  readonly port: number
  /** Listen on this unix socket instead of addresses and port; for a node embedded in a client. Default none. */
  readonly socketPath: string | undefined
  /** Directory of the node's files; its disk is the one whose free space the node tells. */
  readonly directory: string
  /** Largest file that the node takes or sends; 0 for any. Default 0. */
  readonly maxFileBytes: number
  /** How long a lease outlives the last connection of its client. Default 5 seconds. */
  readonly leaseResume: Duration.Input
  /**
   * How long another client that wants the node waits for the jobs of one that is gone, from when that was last heard;
   * 0 for as long as they run. Default 60 minutes, dispy's.
   */
  readonly zombieInterval: Duration.Input
  /** How long results of a client that is gone are kept; 0 for until they are fetched. Default 7 days. */
  readonly keepResults: Duration.Input
  /** How long running jobs may go on when the node is asked to end. Default 5 seconds. */
  readonly drainGrace: Duration.Input
  /** How often the node tells its client what it has to spare. Default 10 seconds. */
  readonly pulseInterval: Duration.Input
  /** How long a new connection may take to say Hello. Default 5 seconds. */
  readonly helloDeadline: Duration.Input
  /** How long a connection may be silent; clients ping more often than that. Default 60 seconds. */
  readonly silenceLimit: Duration.Input
  /** Computations that the node takes before it ends; negative for any number. Default -1. */
  readonly serve: number
  /** Remove the files of computations also where their client wants them kept. Default false. */
  readonly forceCleanup: boolean
  /** Let clients end the node. Default false. */
  readonly clientShutdown: boolean
  /** Connections at the same time; more are closed at once. Default 256. */
  readonly maxConnections: number
  /** Connections beside those that have not introduced themselves; with another one the oldest is closed. Default 128. */
  readonly maxStrangers: number
  /** Handshakes of one address that may fail per minute; more are refused before they begin. Default 60. */
  readonly maxFailures: number
}

export class NodeConfig extends Context.Service<NodeConfig, NodeSettings>()("dispy/services/NodeConfig") {}

/** What holds when nothing is said. */
export const defaults: NodeSettings = {
  name: "node",
  incarnation: "",
  addresses: ["127.0.0.1", "::1"],
  port: 51348,
  socketPath: undefined,
  directory: ".",
  maxFileBytes: 0,
  leaseResume: "5 seconds",
  zombieInterval: "60 minutes",
  keepResults: "7 days",
  drainGrace: "5 seconds",
  pulseInterval: "10 seconds",
  helloDeadline: "5 seconds",
  silenceLimit: "60 seconds",
  serve: -1,
  forceCleanup: false,
  clientShutdown: false,
  maxConnections: 256,
  maxStrangers: 128,
  maxFailures: 60
}

/** The defaults with these settings in their place. */
export const layer = (settings: Partial<NodeSettings>): Layer.Layer<NodeConfig> =>
  Layer.succeed(NodeConfig, { ...defaults, ...settings })
