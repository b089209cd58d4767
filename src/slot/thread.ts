/**
 * The program that runs in a thread of a job process: a slot like any other, with
 * FIFOs in place of pipes. `process.exit` and errors that nobody catches end the
 * thread, not the process.
 */
import * as fs from "node:fs"
import { workerData } from "node:worker_threads"
import * as Channel from "./Channel.ts"
import * as Slot from "./Slot.ts"
import type { ThreadData } from "./ThreadHost.ts"

const { start, state } = workerData as ThreadData

// The node has both open: neither waits for it.
Channel.use(fs.openSync(start.outputPath, fs.constants.O_WRONLY))
const input = fs.openSync(start.inputPath, fs.constants.O_RDONLY | fs.constants.O_NONBLOCK)
const slot = Slot.listen(input, true, () => {})
void Slot.serve(slot, start.told, state)
