/** The files that jobs of a computation are sending to their client: who waits for which answer. */
import { Result, Schema } from "effect"
import * as path from "node:path"
import type { SendFileRequest } from "../../domain/wire/SlotFrames.ts"
import type { SentFile } from "../../services/JobExecutor.ts"
import * as SlotChannel from "./SlotChannel.ts"

interface Sending {
  readonly slot: SlotChannel.SlotChannel
  /** The slot's number of it. */
  readonly fileId: number
  readonly controller: AbortController
}

/** The files of a computation. */
export interface SentFiles {
  readonly onFile: ((file: SentFile) => void) | undefined
  readonly sending: Map<number, Sending>
  last: number
}

/** None yet. */
export const make = (onFile: ((file: SentFile) => void) | undefined): SentFiles => ({
  onFile,
  sending: new Map(),
  last: 0
})

const Size = Schema.Number.check(Schema.isInt(), Schema.isBetween({ minimum: 0, maximum: Number.MAX_SAFE_INTEGER }))

const Request = Schema.fromJsonString(
  Schema.Struct(
    {
      fileId: Size,
      jobId: Size,
      file: Schema.String,
      path: Schema.String,
      sizeBytes: Size,
      mode: Size,
      modifiedMillis: Schema.Finite
    } satisfies Record<keyof SendFileRequest, unknown>
  )
)

const decode = Schema.decodeUnknownResult(Request)

/** A slot sends a file. False when what it wrote is no request. */
export const take = (files: SentFiles, slot: SlotChannel.SlotChannel, payload: Uint8Array): boolean => {
  const decoded = decode(Buffer.from(payload).toString())
  if (Result.isFailure(decoded) || !path.isAbsolute(decoded.success.file)) return false
  const { fileId: inSlot, ...request } = decoded.success
  if (files.onFile === undefined) {
    SlotChannel.tellFile(slot, { fileId: inSlot, problem: "there is no client to take files" })
    return true
  }
  const fileId = ++files.last
  const controller = new AbortController()
  files.sending.set(fileId, { slot, fileId: inSlot, controller })
  files.onFile({ ...request, fileId, signal: controller.signal })
  return true
}

/** The client has the file (""), or says why not. */
export const answer = (files: SentFiles, fileId: number, problem: string): void => {
  const sending = files.sending.get(fileId)
  if (sending === undefined) return
  files.sending.delete(fileId)
  SlotChannel.tellFile(sending.slot, { fileId: sending.fileId, problem })
  sending.controller.abort()
}

/** A slot is gone: nobody waits for its files any more. Of all slots without a number. */
export const forget = (files: SentFiles, slot?: number): void => {
  for (const [fileId, sending] of files.sending) {
    if (slot !== undefined && sending.slot.id !== slot) continue
    files.sending.delete(fileId)
    sending.controller.abort()
  }
}
