import { Layer } from "effect"
import * as JobExecutorMemory from "../../../src/layers/executor/JobExecutorMemory.ts"
import * as ExecutorConfig from "../../../src/services/ExecutorConfig.ts"
import { jobExecutorConformance } from "../../conformance/JobExecutor.ts"

jobExecutorConformance(
  "JobExecutorMemory",
  (cpus) => JobExecutorMemory.layer.pipe(Layer.provide(ExecutorConfig.layer({ cpus })))
)
