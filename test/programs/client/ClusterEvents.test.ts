/** Events for those who listen: in order, bounded for the slow, free for a cluster that nobody watches. */
import { describe, expect, it } from "vitest"
import * as ClusterEvents from "../../../src/programs/client/ClusterEvents.ts"

const take = async (reader: ClusterEvents.EventReader<number>, count: number) => {
  const taken: Array<readonly [number | undefined, number]> = []
  while (taken.length < count) {
    const next = await reader.next()
    if (next.done === true) break
    taken.push([next.value.job, next.value.dropped])
  }
  return taken
}

const emit = (events: ClusterEvents.ClusterEvents, from: number, count: number): void => {
  for (let i = 0; i < count; i++) ClusterEvents.emit(events, "Finished", undefined, from + i)
}

describe("a reader of events", () => {
  it("gets all of them in order, those after a wait too, and ends with the cluster", async () => {
    const events = ClusterEvents.make()
    const reader = new ClusterEvents.EventReader<number>(events, [])
    emit(events, 0, 3)
    expect(await take(reader, 3)).toEqual([[0, 0], [1, 0], [2, 0]])
    const late = take(reader, 2)
    emit(events, 3, 1)
    ClusterEvents.end(events)
    expect(await late).toEqual([[3, 0]])
    expect(events.isWatched).toBe(false)
  })

  it("that is slow loses the oldest and is told how many, while others lose none", async () => {
    const events = ClusterEvents.make()
    const slow = new ClusterEvents.EventReader<number>(events, [])
    let heard = 0
    ClusterEvents.listen(events, () => heard++)
    emit(events, 0, ClusterEvents.readerCapacity + 25_000)
    expect(await take(slow, 2)).toEqual([[25_000, 25_000], [25_001, 0]])
    expect(heard).toBe(ClusterEvents.readerCapacity + 25_000)
    expect(await take(slow, ClusterEvents.readerCapacity - 2)).toHaveLength(ClusterEvents.readerCapacity - 2)
  })

  it("that stops costs nothing any more", async () => {
    const events = ClusterEvents.make()
    const reader = new ClusterEvents.EventReader<number>(events, [])
    expect(events.isWatched).toBe(true)
    emit(events, 7, 2)
    for await (const event of reader) {
      expect(event.job).toBe(7)
      break
    }
    expect(events.isWatched).toBe(false)
    expect(await take(reader, 1)).toEqual([])
  })
})
