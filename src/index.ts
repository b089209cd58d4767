/**
 * dispy for Effect: a function or a program on every core of every machine you
 * have. Clusters are scoped resources, results are effects, `map` is a stream.
 * Programs that do not use Effect import "dispy/promise".
 */
export * from "./domain/ClusterError.ts"
export * from "./domain/ComputationError.ts"
export type { DispyNode, NodeState, NodeStatus } from "./domain/DispyNode.ts"
export * from "./domain/JobError.ts"
export * from "./domain/NodeError.ts"
export type { AvailInfo, NodeInfo } from "./domain/NodeInfo.ts"
export type { NodeOffer } from "./domain/NodeList.ts"
export { ClientAlive, RecoverFileFailed, RecoveryIncomplete, type Unfinished } from "./domain/RecoverError.ts"
export type { AttemptExplanation, Explanation, ExplanationCode, NodeExplanation } from "./domain/scheduler/Explain.ts"
export type { JobStatus } from "./domain/scheduler/JobRecord.ts"
export type { FailureTag } from "./domain/scheduler/Retry.ts"
export * from "./domain/TransferError.ts"
export type { ClusterEvent } from "./programs/client/ClusterEvents.ts"
export type { ClusterOptions, ReceivedFile } from "./programs/client/ClusterOptions.ts"
export * as Computation from "./programs/client/Computation.ts"
export * as Depends from "./programs/client/Depends.ts"
export * as Dispy from "./programs/client/Dispy.ts"
export type { JobAttempt } from "./programs/client/JobAttempts.ts"
export * as JobCluster from "./programs/client/JobCluster.ts"
export type { JobOptions, RetryOptions } from "./programs/client/JobOptions.ts"
export type { MapOptions } from "./programs/client/MapItems.ts"
export {
  type Allocated,
  NodeAllocate,
  type NodeAllocateOptions,
  type NodeEntryObject,
  type NodeListEntry
} from "./programs/client/NodeAllocate.ts"
export type {
  CloseNodeOptions,
  NodeJobsOptions,
  NodeRef,
  SendFileOptions,
  SendProgress
} from "./programs/client/NodeMethods.ts"
export {
  type RecoveredJob,
  type RecoveredJobs,
  type RecoverError,
  recoverJobs,
  recoverJobsStream,
  type RecoverOptions
} from "./programs/client/RecoverJobs.ts"
export type { ClusterStatus } from "./programs/client/StatusTable.ts"
