/**
 * A binary heap whose entries know their place in it, so that moving one and
 * taking one out cost O(log n): the seats of a computation by load, what is due
 * later by time.
 */

/** What the heap writes of an entry. */
export interface Entry {
  /** Place in the heap; -1 for none. */
  heapIndex: number
}

/** Whether the first goes before the second. */
export type Order<A> = (a: A, b: A) => boolean

const place = <A extends Entry>(heap: Array<A>, entry: A, index: number): void => {
  heap[index] = entry
  entry.heapIndex = index
}

const up = <A extends Entry>(heap: Array<A>, entry: A, start: number, isBefore: Order<A>): void => {
  let index = start
  while (index > 0) {
    const parentIndex = (index - 1) >> 1
    const parent = heap[parentIndex]!
    if (!isBefore(entry, parent)) break
    place(heap, parent, index)
    index = parentIndex
  }
  place(heap, entry, index)
}

const down = <A extends Entry>(heap: Array<A>, entry: A, start: number, isBefore: Order<A>): void => {
  let index = start
  while (true) {
    let childIndex = 2 * index + 1
    if (childIndex >= heap.length) break
    if (childIndex + 1 < heap.length && isBefore(heap[childIndex + 1]!, heap[childIndex]!)) childIndex++
    const child = heap[childIndex]!
    if (!isBefore(child, entry)) break
    place(heap, child, index)
    index = childIndex
  }
  place(heap, entry, index)
}

/** Puts the entry where it belongs now, adding it if it is not there. */
export const update = <A extends Entry>(heap: Array<A>, entry: A, isBefore: Order<A>): void => {
  if (entry.heapIndex < 0) {
    heap.push(entry)
    up(heap, entry, heap.length - 1, isBefore)
  } else {
    up(heap, entry, entry.heapIndex, isBefore)
    down(heap, entry, entry.heapIndex, isBefore)
  }
}

/** Takes the entry out; does nothing when it is not in the heap. */
export const remove = <A extends Entry>(heap: Array<A>, entry: A, isBefore: Order<A>): void => {
  const index = entry.heapIndex
  if (index < 0) return
  entry.heapIndex = -1
  const last = heap.pop()!
  if (last === entry) return
  up(heap, last, index, isBefore)
  down(heap, last, last.heapIndex, isBefore)
}

/** The entry that would be first without the first one; undefined for none. */
export const second = <A extends Entry>(heap: ReadonlyArray<A>, isBefore: Order<A>): A | undefined => {
  const [, left, right] = heap
  return left !== undefined && right !== undefined && isBefore(right, left) ? right : left
}
