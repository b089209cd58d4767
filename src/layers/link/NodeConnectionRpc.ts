/** A node connection over any client of the control protocol. */
import { Cause, Effect, Predicate, Stream } from "effect"
import { type RpcClient, RpcClientError, type RpcGroup } from "effect/rpc"
import { Socket } from "effect/socket"
import { NodeUnreachable } from "../../domain/NodeError.ts"
import type { NodeInfo } from "../../domain/NodeInfo.ts"
import type { NodeRpcs } from "../../domain/NodeRpcs.ts"
import type { NodeConnection } from "../../services/NodeLink.ts"

/** A client of the control protocol. */
export type NodeRpcClient = RpcClient.RpcClient<
  RpcGroup.Rpcs<typeof NodeRpcs>,
  RpcClientError.RpcClientError
>

/** The operating system's name of what went wrong; "" for none. */
const codeOf = ({ reason }: RpcClientError.RpcClientError): string => {
  const cause = "cause" in reason ? reason.cause : undefined
  return cause instanceof Error && "code" in cause ? String(cause.code) : ""
}

/** Whether nobody listens at the address. */
export const isGone = (error: RpcClientError.RpcClientError): boolean => /^(ECONNREFUSED|ENOENT)$/.test(codeOf(error))

/** What an operating system's or RPC error means to a user, in a few words. */
export const explain = (error: RpcClientError.RpcClientError): string => {
  const reason = error.reason
  if (reason._tag === "RpcClientDefect") {
    return `it does not speak this version of the dispy protocol: ${reason.message}`
  }
  if (reason._tag === "SocketCloseError") return "the connection was closed"
  const cause = "cause" in reason ? reason.cause : undefined
  switch (codeOf(error)) {
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

/** A message that is written to a connection which has just been reset is a defect in Effect's client; here it is an error. */
const brokenWrite = (cause: Cause.Cause<unknown>): RpcClientError.RpcClientError | undefined => {
  for (const reason of cause.reasons) {
    if (Cause.isDieReason(reason) && Socket.isSocketError(reason.defect)) {
      return new RpcClientError.RpcClientError({ reason: reason.defect.reason })
    }
  }
  return undefined
}

/** Makes a call, which fails when its message cannot be written. */
export const written = <A, E>(
  effect: Effect.Effect<A, E | RpcClientError.RpcClientError>
): Effect.Effect<A, E | RpcClientError.RpcClientError> =>
  Effect.catchCause(effect, (cause) => {
    const error = brokenWrite(cause)
    return error === undefined ? Effect.failCause(cause) : Effect.fail(error)
  })

/** The connection to the node at `address` (as users write it) and `ipAddr`, greeted with `info`. */
export const make = (address: string, ipAddr: string, info: NodeInfo, rpc: NodeRpcClient): NodeConnection => {
  const lost = (reason: string) => Effect.fail(new NodeUnreachable({ address, reason }))
  /** A call that is under way when its connection is closed ends as interrupted, although its caller was not. */
  const call = <A, E>(
    effect: Effect.Effect<A, E | RpcClientError.RpcClientError>
  ): Effect.Effect<A, Exclude<E, RpcClientError.RpcClientError> | NodeUnreachable> =>
    written(effect).pipe(
      Effect.catchIf(isRpcError, (error) => lost(explain(error))),
      Effect.catchCauseIf(Cause.hasInterruptsOnly, () => lost("the connection was closed"))
    )
  /** The same for what the node tells. */
  const heard = <A, E>(
    stream: Stream.Stream<A, E | RpcClientError.RpcClientError>
  ): Stream.Stream<A, Exclude<E, RpcClientError.RpcClientError> | NodeUnreachable> =>
    stream.pipe(
      Stream.catchCause((cause) => {
        const error = brokenWrite(cause)
        return error === undefined ? Stream.failCause(cause) : Stream.fail(error)
      }),
      Stream.catchIf(isRpcError, (error) => Stream.fromEffect(lost(explain(error)))),
      Stream.catchCauseIf(Cause.hasInterruptsOnly, () => Stream.fromEffect(lost("the connection was closed")))
    )
  let sent = 0
  return {
    info,
    ipAddr,
    acquire: (client, sessionId, pulseMillis, recoverKey) =>
      call(rpc.AcquireLease({
        ...client,
        sessionId,
        ...(pulseMillis === undefined ? {} : { pulseMillis }),
        ...(recoverKey === undefined ? {} : { recoverKey })
      })),
    resume: (leaseId, clientId) => call(rpc.ResumeLease({ leaseId, clientId })),
    pulse: (leaseId) => call(rpc.Pulse({ leaseId })),
    events: (leaseId, received) => heard(rpc.Events({ leaseId, received })),
    recover: (recoverKey, terminatePending) => heard(rpc.Recover({ recoverKey, terminatePending })),
    forget: (recoverKey) => call(rpc.Forget({ recoverKey })),
    openComputation: (leaseId, computation, terms) =>
      call(Effect.asVoid(rpc.OpenComputation({ leaseId, computation, ...terms }))),
    setCpus: (leaseId, computationId, cpus) => call(rpc.SetCpus({ leaseId, computationId, cpus })),
    jobs: (leaseId, computationId) => call(rpc.NodeJobs({ leaseId, computationId })),
    offerFiles: (leaseId, { destPath, id, keepFiles, name }, files, jobId) =>
      call(Effect.map(
        rpc.OfferFiles({
          leaseId,
          computationId: id,
          computationName: name,
          ...(destPath === undefined ? {} : { destPath }),
          ...(keepFiles === undefined ? {} : { keepFiles }),
          ...(jobId === undefined ? {} : { jobId }),
          files
        }),
        ({ missing }) => missing
      )),
    answerJobFile: (leaseId, computationId, fileId, problem) =>
      call(rpc.AnswerJobFile({ leaseId, computationId, fileId, problem })),
    dispatch: (leaseId, computationId, batch, acknowledged, sequence = ++sent) =>
      call(rpc.Dispatch({ leaseId, computationId, sequence, batch, acknowledged })),
    cancelJobs: (leaseId, computationId, jobIds) => call(rpc.CancelJobs({ leaseId, computationId, jobIds })),
    closeComputation: (leaseId, computationId) => call(rpc.CloseComputation({ leaseId, computationId })),
    shutDown: (leaseId) => call(rpc.ShutDown({ leaseId })),
    release: (leaseId) => call(rpc.ReleaseLease({ leaseId }))
  }
}

const isRpcError = (error: unknown): error is RpcClientError.RpcClientError =>
  Predicate.isTagged(error, "RpcClientError")
