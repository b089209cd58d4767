import { jobExecutorConformance } from "../../conformance/JobExecutor.ts"
import { layerProcess } from "../../support/ExecutorProcesses.ts"

jobExecutorConformance("JobExecutorProcess", (cpus) => layerProcess({ cpus }))
