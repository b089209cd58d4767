/** Transfers under a lease as effects, over whatever stream of bytes leads to the node. */
import { Effect, type Scope } from "effect"
import * as fs from "node:fs/promises"
import { messageOf } from "../../domain/Thrown.ts"
import { FileTooLarge, TransferFailed } from "../../domain/TransferError.ts"
import type { TransferSession } from "../../services/FileTransfer.ts"
import * as BulkClient from "./BulkClient.ts"
import type * as BulkPeer from "./BulkPeer.ts"
import * as Content from "./Content.ts"
import * as Sink from "./Sink.ts"

/** Transfers with the node that users call `node`, over connections that `dial` makes; they end with the scope. */
export const make = (
  node: string,
  leaseId: string,
  dial: () => Promise<BulkPeer.Wire>
): Effect.Effect<TransferSession, never, Scope.Scope> =>
  Effect.map(
    Effect.acquireRelease(
      Effect.sync(() => BulkClient.make(leaseId, dial)),
      (client) => Effect.sync(() => BulkClient.close(client))
    ),
    (client): TransferSession => {
      const failed = (what: string) => (error: unknown) => new TransferFailed({ what, node, reason: messageOf(error) })
      return {
        put: (request) =>
          Effect.tryPromise({
            try: (signal) => BulkClient.put(client, request, signal),
            catch: (error) => {
              const limitBytes = error instanceof BulkClient.Refused ? error.limitBytes : undefined
              if (limitBytes === undefined) return failed(request.what)(error)
              const sizeBytes = Content.sizeOf(request.content)
              return new FileTooLarge({ file: request.what, sizeBytes, limitBytes, limitOf: `node ${node}` })
            }
          }),
        getBytes: (request) =>
          Effect.tryPromise({
            try: (signal) => BulkClient.get(client, request, (sizeBytes) => Sink.toMemory(sizeBytes), signal),
            catch: failed(request.what)
          }),
        getFile: (request, path) =>
          Effect.tryPromise({
            try: async (signal) => {
              await BulkClient.get(
                client,
                request,
                (sizeBytes, flow) => Sink.toNewFile(path, sizeBytes, flow, true),
                signal
              )
            },
            catch: failed(request.what)
          }).pipe(
            // A transfer that was cut short may not be done with the file yet; whoever makes it removes it.
            Effect.onError(() => Effect.promise(() => fs.rm(path, { force: true })))
          )
      }
    }
  )
