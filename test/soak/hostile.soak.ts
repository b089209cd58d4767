/** 10,000 of every kind of malformed message, and as many stolen and weakened sessions; about 10 minutes on two cores. */
import * as HostilePeers from "../conformance/HostilePeers.ts"
import * as StolenSessions from "../conformance/StolenSessions.ts"

HostilePeers.suite(10_000)
StolenSessions.suite(10_000)
