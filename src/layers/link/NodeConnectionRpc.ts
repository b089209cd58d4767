/** A node connection over any client of the control protocol. */
import { Effect, Stream } from "effect"
import type { RpcClient, RpcClientError, RpcGroup } from "effect/rpc"
import { NodeUnreachable } from "../../domain/NodeError.ts"
import type { NodeInfo } from "../../domain/NodeInfo.ts"
import type { NodeRpcs } from "../../domain/NodeRpcs.ts"
import type { NodeConnection } from "../../services/NodeLink.ts"

/** A client of the control protocol. */
export type NodeRpcClient = RpcClient.RpcClient<
  RpcGroup.Rpcs<typeof NodeRpcs>,
  RpcClientError.RpcClientError
>

/** What an operating system's or RPC error means to a user, in a few words. */
export const explain = (error: RpcClientError.RpcClientError): string => {
  const reason = error.reason
  if (reason._tag === "RpcClientDefect") {
    return `it does not speak this version of the dispy protocol: ${reason.message}`
  }
  if (reason._tag === "SocketCloseError") return "the connection was closed"
  const cause = "cause" in reason ? reason.cause : undefined
  switch (cause instanceof Error && "code" in cause ? cause.code : "") {
    case "ECONNREFUSED":
      return "connection refused"
    case "ENOENT":
      return "the embedded node is gone"
    case "ENOTFOUND":
    case "EAI_AGAIN":
      return "the host name is unknown"
    case "ECONNRESET":
    case "EPIPE":
      return "the connection was reset"
    case "EHOSTUNREACH":
    case "ENETUNREACH":
      return "no route to the host"
  }
  return cause instanceof Error ? cause.message : error.message
}

/** The connection to the node at `address` (as users write it), greeted with `info`. */
export const make = (address: string, info: NodeInfo, rpc: NodeRpcClient): NodeConnection => {
  const unreachable = (error: RpcClientError.RpcClientError) =>
    Effect.fail(new NodeUnreachable({ address, reason: explain(error) }))
  return {
    info,
    acquire: (client) =>
      rpc.AcquireLease(client).pipe(
        Effect.map((lease) => lease.leaseId),
        Effect.catchTag("RpcClientError", unreachable)
      ),
    events: (leaseId) =>
      rpc.Events({ leaseId }).pipe(
        Stream.catchTag("RpcClientError", (error) => Stream.fromEffect(unreachable(error)))
      ),
    openComputation: (leaseId, computation) =>
      rpc.OpenComputation({ leaseId, computation }).pipe(
        Effect.asVoid,
        Effect.catchTag("RpcClientError", unreachable)
      ),
    dispatch: (leaseId, computationId, batch, acknowledged) =>
      rpc.Dispatch({ leaseId, computationId, batch, acknowledged }).pipe(
        Effect.catchTag("RpcClientError", unreachable)
      ),
    cancelJobs: (leaseId, computationId, jobIds) =>
      rpc.CancelJobs({ leaseId, computationId, jobIds }).pipe(Effect.catchTag("RpcClientError", unreachable)),
    closeComputation: (leaseId, computationId) =>
      rpc.CloseComputation({ leaseId, computationId }).pipe(Effect.catchTag("RpcClientError", unreachable)),
    release: (leaseId) => rpc.ReleaseLease({ leaseId }).pipe(Effect.catchTag("RpcClientError", unreachable))
  }
}
