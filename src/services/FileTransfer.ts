/** Moves files and large values between a client and a node, beside the control connection. */
import { Context, type Effect, type Scope } from "effect"
import type { NodeAddress } from "../domain/NodeAddress.ts"
import type { GetSource, PutTarget } from "../domain/transfer/BulkFrames.ts"
import type { FileTooLarge, TransferFailed } from "../domain/TransferError.ts"

/** Something to send. */
export type Content =
  | { readonly _tag: "Bytes"; readonly bytes: Uint8Array }
  /** `sizeBytes` is what was announced: a file that has another size by then is not sent. */
  | { readonly _tag: "File"; readonly path: string; readonly sizeBytes: number }

/** Content for a node. */
export interface PutRequest {
  readonly computationId: string
  readonly target: PutTarget
  readonly content: Content
  /** "file data.csv", "the arguments of job 7": for errors. */
  readonly what: string
  /** Told now and then how much has gone out; must not throw. */
  readonly onProgress?: ((sentBytes: number) => void) | undefined
}

/** Content that a node has. */
export interface GetRequest {
  readonly computationId: string
  readonly source: GetSource
  /** What it will have, as far as is known; decides whether it may hold up smaller ones. */
  readonly sizeBytes: number
  readonly what: string
}

/** Transfers under a lease. Each is verified by its hash, and tried again where it was when a connection breaks. */
export interface TransferSession {
  /** Sends content; succeeds when the node has it whole, and at its place. Interruption leaves nothing there. */
  readonly put: (request: PutRequest) => Effect.Effect<void, TransferFailed | FileTooLarge>
  /** Fetches content into memory. */
  readonly getBytes: (request: GetRequest) => Effect.Effect<Uint8Array, TransferFailed>
  /** Fetches content into a new file; it is on the disk when this succeeds, and removed when it does not. */
  readonly getFile: (request: GetRequest, path: string) => Effect.Effect<void, TransferFailed>
}

/** Moves files and large values between a client and a node. */
export class FileTransfer extends Context.Service<FileTransfer, {
  /** Transfers with the node under a lease of it. Connections are made when they are needed and end with the scope. */
  readonly open: (address: NodeAddress, leaseId: string) => Effect.Effect<TransferSession, never, Scope.Scope>
}>()("dispy/services/FileTransfer") {}
