/**
 * The seats of a computation that can take a job, least loaded first, so that
 * choosing a node and changing its load are O(log n) for any number of nodes.
 */
import * as IndexedHeap from "./IndexedHeap.ts"

/** What the heap reads and writes of a seat. */
export interface Entry extends IndexedHeap.Entry {
  /** Jobs per cpu. */
  readonly load: number
  /** Ties go to the node that came first. */
  readonly node: { readonly sequence: number }
}

/** Seats in heap order. */
export type SeatHeap<Seat extends Entry> = Array<Seat>

const isBefore = (a: Entry, b: Entry): boolean =>
  a.load < b.load || (a.load === b.load && a.node.sequence < b.node.sequence)

/** Puts the seat where its load belongs, adding it if it is not there. */
export const update = <Seat extends Entry>(heap: SeatHeap<Seat>, seat: Seat): void =>
  IndexedHeap.update(heap, seat, isBefore)

/** Takes the seat out; does nothing when it is not in the heap. */
export const remove = <Seat extends Entry>(heap: SeatHeap<Seat>, seat: Seat): void =>
  IndexedHeap.remove(heap, seat, isBefore)

/** The seat that has the least to do apart from the first; undefined for none. */
export const second = <Seat extends Entry>(heap: SeatHeap<Seat>): Seat | undefined => IndexedHeap.second(heap, isBefore)
