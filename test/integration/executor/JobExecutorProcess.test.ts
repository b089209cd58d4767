import { jobExecutorConformance } from "../../conformance/JobExecutor.ts"
import { layerProcess } from "../../support/ExecutorProcesses.ts"

jobExecutorConformance("JobExecutorProcess", (cpus) => layerProcess({ cpus }))
jobExecutorConformance("JobExecutorProcess without jobs ahead", (cpus) => layerProcess({ cpus, maxInflight: 1 }))
jobExecutorConformance("JobExecutorProcess in threads", (cpus) => layerProcess({ cpus }), { executor: "thread" })
jobExecutorConformance(
  "JobExecutorProcess in threads without jobs ahead",
  (cpus) => layerProcess({ cpus, maxInflight: 1 }),
  { executor: "thread" }
)
