/**
 * The pings of a client and who answered them: whether datagrams get lost here. In
 * a network where all is well, every node that has answered before answers again.
 * Bounded memory; time is an input, in milliseconds of any clock.
 */

/** What was sent at one time, on all ways. */
export interface Round {
  readonly at: number
  /** Incarnations of the nodes that answered. */
  readonly heard: Set<string>
}

/** The last rounds; changed in place. */
export interface Rounds {
  /** Incarnations of the nodes that answered any of them. */
  readonly answered: Set<string>
  recent: Array<Round>
}

/** How long an answer may take before it counts as lost. */
export const answerMillis = 150

/** Rounds are looked at for so long. */
export const recentMillis = 1500

/** Nodes that are told apart, at most; more of them say nothing new about the network. */
export const capacity = 1024

/** Nothing was sent. */
export const make = (): Rounds => ({ answered: new Set(), recent: [] })

/** A round begins. */
export const begin = (state: Rounds, now: number): Round => {
  const round: Round = { at: now, heard: new Set() }
  // The last one is kept however old it is.
  state.recent = [
    ...state.recent.filter(({ at }, i) => i + 1 === state.recent.length || now - at <= recentMillis),
    round
  ]
  return round
}

/** A node has answered. */
export const hear = (state: Rounds, round: Round, incarnation: string): void => {
  if (state.answered.size >= capacity && !state.answered.has(incarnation)) return
  state.answered.add(incarnation)
  round.heard.add(incarnation)
}

/** The node has ended, and will not answer any more. */
export const forget = (state: Rounds, incarnation: string): void => {
  state.answered.delete(incarnation)
  for (const { heard } of state.recent) heard.delete(incarnation)
}

/** Whether nobody has answered yet, or more than a quarter of the answers is missing that there could be. */
export const isLossy = (state: Rounds, now: number): boolean => {
  const due = state.recent.filter(({ at }) => now - at >= answerMillis)
  const judged = due.filter(({ at }, i) => i + 1 === due.length || now - at <= recentMillis)
  const heard = judged.reduce((sum, round) => sum + round.heard.size, 0)
  return state.answered.size === 0 || heard < 0.75 * judged.length * state.answered.size
}
