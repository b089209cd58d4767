/**
 * `dispy.sendFile`: asks the node to have a file of this machine sent to the client
 * of the job, and waits for what became of it. A job replies when all of its files
 * have been answered, awaited or not.
 */
import * as fs from "node:fs"
import * as path from "node:path"
import { FromSlot, type SendFileRequest } from "../domain/wire/SlotFrames.ts"
import * as Channel from "./Channel.ts"

/** What it needs of the loop that runs jobs. */
export interface Sender {
  readonly current: () => { readonly jobId: number; files: Set<number> | null } | null
  readonly directory: string
  /** The job waits for its node from now on. */
  readonly waits: () => void
}

interface Waiting {
  readonly files: Set<number>
  readonly settle: (problem: string) => void
}

const waiting = new Map<number, Waiting>()
/** Called when a job has no files under way any more. */
const afterwards = new Map<Set<number>, () => void>()
let lastId = 0

/** What is sent of a file, or why it is not: a directory, say. */
const requestFor = (file: string, directory: string, jobId: number): SendFileRequest => {
  const stats = fs.statSync(file)
  if (!stats.isFile()) throw new Error("it is not a file")
  const relative = path.relative(directory, file)
  const isBelow = relative !== "" && relative !== ".." && !relative.startsWith(`..${path.sep}`) &&
    !path.isAbsolute(relative)
  return {
    fileId: ++lastId,
    jobId,
    file,
    path: isBelow ? relative.split(path.sep).join("/") : path.basename(file),
    sizeBytes: stats.size,
    mode: stats.mode & 0o777,
    modifiedMillis: stats.mtimeMs
  }
}

const problemOf = (name: string, problem: string): Error =>
  new Error(`file ${name} was not sent to the client: ${problem}`)

/** Sends a file to the client; resolves to 0 when it is there, whole. */
export const sendFile = (sender: Sender, name: unknown): Promise<number> => {
  const current = sender.current()
  if (current === null) return Promise.reject(new Error("no job is running whose client could take a file"))
  if (typeof name !== "string" || name === "") {
    return Promise.reject(new TypeError("dispy.sendFile takes the path of a file"))
  }
  let request: SendFileRequest
  try {
    request = requestFor(path.resolve(name), sender.directory, current.jobId)
  } catch (error) {
    const { code, message } = error as NodeJS.ErrnoException
    return Promise.reject(problemOf(name, code === "ENOENT" ? "there is no such file" : message))
  }
  const files = current.files ??= new Set()
  const sent = new Promise<number>((resolve, reject) => {
    files.add(request.fileId)
    waiting.set(request.fileId, {
      files,
      settle: (problem) => problem === "" ? resolve(0) : reject(problemOf(name, problem))
    })
  })
  // One that nobody awaits must not end the process.
  sent.catch(() => {})
  sender.waits()
  Channel.send(FromSlot.sendFile, Buffer.from(JSON.stringify(request)))
  return sent
}

/** Takes the node's answer. */
export const answered = (payload: Uint8Array): void => {
  const { fileId, problem } = JSON.parse(Buffer.from(payload).toString()) as { fileId: number; problem: string }
  const one = waiting.get(fileId)
  if (one === undefined) return
  waiting.delete(fileId)
  one.files.delete(fileId)
  one.settle(problem)
  if (one.files.size > 0) return
  const after = afterwards.get(one.files)
  afterwards.delete(one.files)
  after?.()
}

/** Whether a job waits for an answer. */
export const isWaiting = (): boolean => waiting.size > 0

/** Does something when all these files have been answered; false when they have. */
export const later = (files: Set<number> | null, what: () => void): boolean => {
  if (files === null || files.size === 0) return false
  afterwards.set(files, what)
  return true
}
