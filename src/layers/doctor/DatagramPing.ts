/** Whether a node answers datagrams: asks one host, as clients that look for nodes ask whole networks. */
import { Clock, Deferred, Duration, Effect, Option, Result, Schedule, type Scope } from "effect"
import * as dgram from "node:dgram"
import type { LookupAddress } from "node:dns"
import * as dns from "node:dns/promises"
import * as Datagram from "../../domain/discovery/Datagram.ts"
import * as Inbox from "../../domain/discovery/Inbox.ts"
import type { UdpFact } from "../../domain/doctor/Facts.ts"
import type { NodeAddress } from "../../domain/NodeAddress.ts"
import * as Stamps from "../discovery/Stamps.ts"

/** A datagram may get lost: so many are sent, this far apart. */
const pings = 3
const pingGap = Duration.millis(300)

/** How long an answer may take. */
const patience = Duration.seconds(2)

const open = (family: number): Effect.Effect<dgram.Socket, never, Scope.Scope> =>
  Effect.acquireRelease(
    Effect.sync(() => dgram.createSocket(family === 6 ? "udp6" : "udp4").on("error", () => {})),
    (socket) => Effect.sync(() => socket.close())
  )

/** Sends one; what keeps it from leaving is like an answer that does not come. */
const send = (socket: dgram.Socket, bytes: Uint8Array, host: string, port: number): Effect.Effect<void> =>
  Effect.callback<void>((resume) => socket.send(bytes, port, host, () => resume(Effect.void)))

/** Ends with the first answer, and only then. */
const ask = Effect.fnUntraced(function*(host: LookupAddress, port: number, key: Uint8Array | undefined) {
  const socket = yield* open(host.family)
  const mac = Stamps.macOf(key)
  const stamp = yield* Stamps.next
  const answered = yield* Deferred.make<string | undefined>()
  socket.on("message", (bytes) => {
    const read = Datagram.decode(bytes, mac)
    const meaning = Inbox.explain(read)
    if (meaning !== undefined) return Deferred.doneUnsafe(answered, Effect.succeed(meaning))
    if (Result.isFailure(read) || read.success.message._tag !== "Answer") return
    if (read.success.message.inReplyTo === stamp.nonce) Deferred.doneUnsafe(answered, Effect.undefined)
  })
  const ping = Datagram.encode({ _tag: "Ping", answerAt: [] }, stamp, mac)
  const start = yield* Clock.currentTimeNanos
  const meaning = yield* send(socket, ping, host.address, port).pipe(
    Effect.repeat({ schedule: Schedule.spaced(pingGap), times: pings - 1 }),
    Effect.andThen(Effect.never),
    Effect.raceFirst(Deferred.await(answered))
  )
  if (meaning !== undefined) return { _tag: "Unheeded", meaning } as const
  return {
    _tag: "Answered",
    millis: Duration.toMillis(Duration.nanos((yield* Clock.currentTimeNanos) - start))
  } as const
})

/** Pings all addresses of a host, with this key under the datagrams if there is one, and tells what comes first. */
export const make =
  (key: Uint8Array | undefined) =>
  ({ host, port }: Extract<NodeAddress, { readonly _tag: "Tcp" }>): Effect.Effect<UdpFact> =>
    Effect.tryPromise(() => dns.lookup(host, { all: true })).pipe(
      Effect.flatMap((hosts) => Effect.raceAllFirst(hosts.map((one) => Effect.scoped(ask(one, port, key))))),
      Effect.timeoutOption(patience),
      Effect.map(Option.getOrElse((): UdpFact => ({ _tag: "Silent" }))),
      Effect.orElseSucceed((): UdpFact => ({ _tag: "Silent" }))
    )
