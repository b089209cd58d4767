/**
 * The seats of a computation that can take a job, least loaded first: an
 * indexed binary heap, so that choosing a node and changing its load are
 * O(log n) for any number of nodes.
 */
import type { Seat } from "./SchedulerState.ts"

/** Seats in heap order; every seat knows its place (`heapIndex`, -1 for none). */
export type SeatHeap = Array<Seat>

const isBefore = (a: Seat, b: Seat): boolean =>
  a.load < b.load || (a.load === b.load && a.node.sequence < b.node.sequence)

const place = (heap: SeatHeap, seat: Seat, index: number): void => {
  heap[index] = seat
  seat.heapIndex = index
}

const up = (heap: SeatHeap, seat: Seat, start: number): void => {
  let index = start
  while (index > 0) {
    const parentIndex = (index - 1) >> 1
    const parent = heap[parentIndex]!
    if (!isBefore(seat, parent)) break
    place(heap, parent, index)
    index = parentIndex
  }
  place(heap, seat, index)
}

const down = (heap: SeatHeap, seat: Seat, start: number): void => {
  let index = start
  while (true) {
    let childIndex = 2 * index + 1
    if (childIndex >= heap.length) break
    if (childIndex + 1 < heap.length && isBefore(heap[childIndex + 1]!, heap[childIndex]!)) childIndex++
    const child = heap[childIndex]!
    if (!isBefore(child, seat)) break
    place(heap, child, index)
    index = childIndex
  }
  place(heap, seat, index)
}

/** Puts the seat where its load belongs, adding it if it is not there. */
export const update = (heap: SeatHeap, seat: Seat): void => {
  if (seat.heapIndex < 0) {
    heap.push(seat)
    up(heap, seat, heap.length - 1)
  } else {
    up(heap, seat, seat.heapIndex)
    down(heap, seat, seat.heapIndex)
  }
}

/** Takes the seat out; does nothing when it is not in the heap. */
export const remove = (heap: SeatHeap, seat: Seat): void => {
  const index = seat.heapIndex
  if (index < 0) return
  seat.heapIndex = -1
  const last = heap.pop()!
  if (last === seat) return
  up(heap, last, index)
  down(heap, last, last.heapIndex)
}
