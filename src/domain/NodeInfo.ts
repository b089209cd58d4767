/** What a node tells about itself. */
import { Schema } from "effect"

/** What a node has to spare, in dispy's units (its `DispyNodeAvailInfo`). */
export const AvailInfo = Schema.Struct({
  /** Idle CPU in percent: 100 is not busy at all. */
  cpu: Schema.Number,
  /** Bytes of memory that programs can still use. */
  memory: Schema.Number,
  /** Free bytes on the disk that holds the nodes' files. */
  disk: Schema.Number,
  /** Free swap in percent. */
  swap: Schema.Number
})

/** What a node has to spare, in dispy's units (its `DispyNodeAvailInfo`). */
export type AvailInfo = typeof AvailInfo.Type

/** A number of slots; a node that says more is none to rely on. */
export const Cpus = Schema.Number.check(Schema.isInt(), Schema.isBetween({ minimum: 0, maximum: 100_000 }))

/** A node's greeting. */
export const NodeInfo = Schema.Struct({
  /** Name given by `--name`, else the host's name. */
  name: Schema.String,
  /** Unique per start of a daemon, so that a restarted node is told from the one before. */
  incarnation: Schema.String,
  /** Version of the package. */
  version: Schema.String,
  /** Slots it offers. */
  cpus: Cpus,
  /** Like "linux-x64 6.1.0 node-24.21.0"; for `allocate`. */
  platform: Schema.String,
  availInfo: AvailInfo
})

/** A node's greeting. */
export type NodeInfo = typeof NodeInfo.Type

/** Size of the largest message between client and node; the largest value is a little smaller. */
export const maxFrameBytes = 64 * 1024 * 1024

/** Largest code of a computation with what it captures: it travels in one message. */
export const maxCodeBytes = 48 * 1024 * 1024

/**
 * Largest encoded arguments of a job, and largest encoded result: what is safe to hold in one buffer everywhere that the
 * bytes pass. Larger than 1 MiB they travel in files.
 */
export const maxValueBytes = 2 ** 31 - 1

/** Changes with every change of the protocol; both sides must have the same. */
export const protocolVersion = 4
