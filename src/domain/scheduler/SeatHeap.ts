/**
 * The seats of a computation that can take a job, least loaded first: an
 * indexed binary heap, so that choosing a node and changing its load are
 * O(log n) for any number of nodes.
 */

/** What the heap reads and writes of a seat. */
export interface Entry {
  /** Jobs per cpu. */
  readonly load: number
  /** Ties go to the node that came first. */
  readonly node: { readonly sequence: number }
  /** Place in the heap; -1 for none. */
  heapIndex: number
}

/** Seats in heap order. */
export type SeatHeap<Seat extends Entry> = Array<Seat>

const isBefore = (a: Entry, b: Entry): boolean =>
  a.load < b.load || (a.load === b.load && a.node.sequence < b.node.sequence)

const place = <Seat extends Entry>(heap: SeatHeap<Seat>, seat: Seat, index: number): void => {
  heap[index] = seat
  seat.heapIndex = index
}

const up = <Seat extends Entry>(heap: SeatHeap<Seat>, seat: Seat, start: number): void => {
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

const down = <Seat extends Entry>(heap: SeatHeap<Seat>, seat: Seat, start: number): void => {
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
export const update = <Seat extends Entry>(heap: SeatHeap<Seat>, seat: Seat): void => {
  if (seat.heapIndex < 0) {
    heap.push(seat)
    up(heap, seat, heap.length - 1)
  } else {
    up(heap, seat, seat.heapIndex)
    down(heap, seat, seat.heapIndex)
  }
}

/** Takes the seat out; does nothing when it is not in the heap. */
export const remove = <Seat extends Entry>(heap: SeatHeap<Seat>, seat: Seat): void => {
  const index = seat.heapIndex
  if (index < 0) return
  seat.heapIndex = -1
  const last = heap.pop()!
  if (last === seat) return
  up(heap, last, index)
  down(heap, last, last.heapIndex)
}
