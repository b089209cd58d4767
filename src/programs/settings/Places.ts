/** Hosts with ports in the options of programs. */
import { Result } from "effect"
import * as Datagram from "../../domain/discovery/Datagram.ts"
import * as NodeAddress from "../../domain/NodeAddress.ts"

/** Hosts that a datagram can name, or what is wrong with the first that it cannot; `origin` is where they were said. */
export const hosts = (
  texts: ReadonlyArray<string>,
  origin: string
): Result.Result<ReadonlyArray<string>, string> => {
  if (texts.length > Datagram.maxAddresses) {
    return Result.fail(`${origin} is given ${texts.length} times; at most ${Datagram.maxAddresses} addresses are told`)
  }
  const wrong = texts.find((text) => !Datagram.isHost(text))
  return wrong === undefined
    ? Result.succeed(texts)
    : Result.fail(`${origin} ${JSON.stringify(wrong)} is not an IP address or a host name`)
}

/** Each HOST[:PORT]; an address of IPv6 with a port is in brackets. */
export const parse = (
  texts: ReadonlyArray<string>,
  port: number,
  origin: string
): Result.Result<ReadonlyArray<Datagram.Place>, string> =>
  Result.all(texts.map((text) => {
    const parsed = NodeAddress.parse(text, port)
    if (Result.isFailure(parsed)) return Result.fail(`${origin} ${parsed.failure.reason}`)
    return parsed.success._tag === "Tcp" && Datagram.isHost(parsed.success.host)
      ? Result.succeed({ host: parsed.success.host, port: parsed.success.port })
      : Result.fail(`${origin} ${JSON.stringify(text)} is not a host; write "host" or "host:port"`)
  }))
