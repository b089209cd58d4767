/**
 * Nodes in memory, for tests of programs that use dispy: no sockets, no processes, and everything that can happen to
 * nodes happens when a test says so.
 */
export { JobPassed, TestNodeDead, type TestNodeError, UnknownTestNode } from "./domain/testing/TestNodeError.ts"
export type { TestNodeOptions, TestNodesInput } from "./domain/testing/TestNodePlan.ts"
export { layer, type TestNodesOptions } from "./programs/testing/TestNetwork.ts"
export {
  createTestCluster,
  createTestNodes,
  type PromiseFaults,
  type TestCluster,
  type TestClusterOptions,
  TestNodes
} from "./programs/testing/TestNodes.ts"
export { Faults, type FaultsError, type PartitionDirection, type TestNode, type WatchedJob } from "./services/Faults.ts"
