/** What listeners do with nonsense, in short; `npm run soak` has the same at full size. */
import * as HostilePeers from "../../conformance/HostilePeers.ts"

HostilePeers.suite(300)
