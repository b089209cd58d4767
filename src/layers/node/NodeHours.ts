/**
 * Keeps a node to its service hours. It looks at the clock at every full minute,
 * so that a machine that slept, or whose clock was set, is a minute late at most.
 */
import { DateTime, Effect } from "effect"
import * as ServiceHours from "../../domain/node/ServiceHours.ts"
import { NodeOwner } from "../../services/NodeOwner.ts"

const minuteMillis = 60_000

/** Opens and closes the node by the clock; succeeds when the node is to end. */
export const keep = Effect.fnUntraced(function*(hours: ServiceHours.ServiceHours) {
  const control = yield* NodeOwner
  const end = ServiceHours.endAfter(hours, yield* DateTime.nowInCurrentZone)
  let wasOpen = true
  while (true) {
    const now = yield* DateTime.nowInCurrentZone
    const millis = DateTime.toEpochMillis(now)
    if (end !== undefined && millis >= DateTime.toEpochMillis(end)) return
    const isOpen = ServiceHours.isOpen(hours, ServiceHours.minuteOf(now))
    yield* control.setInHours(isOpen)
    if (isOpen !== wasOpen) {
      yield* Effect.logInfo(isOpen ? "service begins" : "outside of the service hours: no new jobs").pipe(
        Effect.annotateLogs({ hours: ServiceHours.describe(hours) })
      )
    }
    wasOpen = isOpen
    yield* Effect.sleep(minuteMillis - millis % minuteMillis)
  }
})
