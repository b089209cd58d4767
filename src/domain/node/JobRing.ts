/**
 * A queue that takes from the front and puts back there, in constant time and
 * without garbage: jobs that a slot gives back keep their place in line.
 */

/** A growable ring. `items.length` is a power of two. */
export interface JobRing<A> {
  items: Array<A | undefined>
  head: number
  length: number
}

/** An empty ring. */
export const make = <A>(): JobRing<A> => ({ items: new Array<A | undefined>(16).fill(undefined), head: 0, length: 0 })

const grow = <A>(ring: JobRing<A>): void => {
  const items = new Array<A | undefined>(ring.items.length * 2).fill(undefined)
  for (let i = 0; i < ring.length; i++) items[i] = at(ring, i)
  ring.items = items
  ring.head = 0
}

/** The element at `index` from the front. */
export const at = <A>(ring: JobRing<A>, index: number): A | undefined =>
  index < ring.length ? ring.items[(ring.head + index) & (ring.items.length - 1)] : undefined

/** Adds at the back. */
export const push = <A>(ring: JobRing<A>, item: A): void => {
  if (ring.length === ring.items.length) grow(ring)
  ring.items[(ring.head + ring.length) & (ring.items.length - 1)] = item
  ring.length++
}

/** Adds at the front. */
export const pushFront = <A>(ring: JobRing<A>, item: A): void => {
  if (ring.length === ring.items.length) grow(ring)
  ring.head = (ring.head - 1) & (ring.items.length - 1)
  ring.items[ring.head] = item
  ring.length++
}

/** Takes from the front. */
export const shift = <A>(ring: JobRing<A>): A | undefined => {
  if (ring.length === 0) return undefined
  const item = ring.items[ring.head]
  ring.items[ring.head] = undefined
  ring.head = (ring.head + 1) & (ring.items.length - 1)
  ring.length--
  return item
}

/** Takes from the back. */
export const pop = <A>(ring: JobRing<A>): A | undefined => {
  if (ring.length === 0) return undefined
  const index = (ring.head + ring.length - 1) & (ring.items.length - 1)
  const item = ring.items[index]
  ring.items[index] = undefined
  ring.length--
  return item
}

/** Takes the element at `index` out of the middle; those before it move up. */
export const removeAt = <A>(ring: JobRing<A>, index: number): A | undefined => {
  if (index < 0 || index >= ring.length) return undefined
  const mask = ring.items.length - 1
  const item = ring.items[(ring.head + index) & mask]
  for (let i = index; i > 0; i--) ring.items[(ring.head + i) & mask] = ring.items[(ring.head + i - 1) & mask]
  shift(ring)
  return item
}

/** Everything from front to back. */
export const toArray = <A>(ring: JobRing<A>): Array<A> => {
  const all: Array<A> = []
  for (let i = 0; i < ring.length; i++) all.push(at(ring, i)!)
  return all
}

/** Takes out what `wanted` says yes to, in order; the rest keeps its order. */
export const remove = <A>(ring: JobRing<A>, wanted: (item: A) => boolean): Array<A> => {
  const taken: Array<A> = []
  for (let left = ring.length; left > 0; left--) {
    const item = shift(ring)!
    if (wanted(item)) taken.push(item)
    else push(ring, item)
  }
  return taken
}
