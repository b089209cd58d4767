/** Who could come in by the sockets that dispy's processes listen on. */
import type { SocketFact } from "./Facts.ts"
import { type Finding, ok, problem, type Topic, warning } from "./Finding.ts"

const dayMillis = 86_400_000

/** Certificates that expire within this are to be replaced. */
const soonMillis = 30 * dayMillis

const date = (millis: number): string => new Date(millis).toISOString().slice(0, 10)

const renew = "make new ones (`dispy keys init --ca DIR … --force`), and start what uses them again"

/** Whether a certificate counts now; `what` is a clause that names it. */
export const validity = (topic: Topic, what: string, notBefore: number, notAfter: number, now: number): Finding => {
  if (notAfter <= now) return problem(topic, `${what} expired on ${date(notAfter)}`, renew)
  if (notBefore > now) {
    return problem(topic, `${what} is valid from ${date(notBefore)} on only`, "check the clock of this machine")
  }
  return notAfter - now < soonMillis
    ? warning(topic, `${what} expires on ${date(notAfter)}`, renew)
    : ok(topic, `${what} is valid until ${date(notAfter)}`)
}

const isLoopback = (address: string): boolean => /^127\.|^::1$/.test(address)

/** The address as people write it. */
export const place = ({ address, port, transport }: SocketFact): string =>
  transport === "unix"
    ? address
    : `${transport.toUpperCase()} ${address.includes(":") ? `[${address}]` : address}:${port}`

const socket = (fact: SocketFact, now: number): Finding => {
  const { address, authentication, pid, program } = fact
  const what = `${program} (pid ${pid}) listens on ${place(fact)}`
  switch (authentication._tag) {
    case "None":
      return isLoopback(address)
        ? ok("sockets", `${what}, without authentication: every user of this machine can run code as its user`)
        : warning(
          "sockets",
          `${what}, without authentication: everybody who reaches it can run code here`,
          "make a secret with `dispy keys init` and start it with --secret-file, or keep to loopback (no --ip-addr)"
        )
    case "Secret":
      return ok("sockets", `${what}, which lets in who has its secret`)
    case "Certificate": {
      const name = `${what}; its certificate ${authentication.subject}`
      return validity("sockets", name, 0, authentication.notAfter, now)
    }
    case "FileMode":
      return (authentication.mode & 0o077) === 0
        ? ok("sockets", `${what}, which only its user can reach`)
        : problem(
          "sockets",
          `${what}, whose directory others can enter (mode ${
            authentication.mode.toString(8)
          }), and run code as its user`,
          "end that process; dispy makes such directories with mode 700"
        )
    case "Datagrams":
      return ok("sockets", `${what}, for discovery: datagrams only cause connections, which are authenticated`)
    case "Announcements":
      return ok("sockets", `${what}, for nodes that dial out, which it authenticates as those that it dials`)
    case "Unknown":
      return warning(
        "sockets",
        `${what}, and does not tell how it authenticates (${authentication.reason})`,
        "look at the options that it was started with"
      )
  }
}

/** A finding per socket. */
export const diagnose = (sockets: ReadonlyArray<SocketFact>, now: number): ReadonlyArray<Finding> =>
  sockets.length === 0
    ? [ok("sockets", "no dispy process of this user listens anywhere")]
    : sockets.map((one) => socket(one, now))
