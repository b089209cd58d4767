/**
 * The order in which functions and classes are defined: each after all that it uses. Those that use each other are
 * defined together, the functions first, since nothing of them runs then, and a class after the classes that its own
 * definition needs.
 */

/** A function or class and the names of others that it uses. */
export interface Defined {
  readonly name: string
  readonly kind: "function" | "class"
  readonly uses: ReadonlyArray<string>
  /** Those that it uses while it is being defined. */
  readonly usesFirst: ReadonlyArray<string>
}

/** Classes of which each needs the next, and the last the first, before it can be defined. */
export interface Circle {
  readonly names: ReadonlyArray<string>
}

/** The strongly connected components by `uses`, each after those that it uses (Tarjan). */
const components = <D extends Defined>(all: ReadonlyMap<string, D>): Array<Array<D>> => {
  const found: Array<Array<D>> = []
  const places = new Map<string, number>()
  const lowest = new Map<string, number>()
  const stack: Array<D> = []
  const onStack = new Set<string>()
  const visit = (one: D): void => {
    const place = places.size
    places.set(one.name, place)
    lowest.set(one.name, place)
    stack.push(one)
    onStack.add(one.name)
    for (const name of one.uses) {
      const other = all.get(name)
      if (other === undefined) continue
      if (!places.has(name)) visit(other)
      if (onStack.has(name)) lowest.set(one.name, Math.min(lowest.get(one.name)!, lowest.get(name)!))
    }
    if (lowest.get(one.name) !== place) return
    const members = stack.splice(stack.indexOf(one))
    for (const member of members) onStack.delete(member.name)
    found.push(members)
  }
  for (const one of all.values()) if (!places.has(one.name)) visit(one)
  return found
}

/** The classes of a group that must be there before this one: what it uses first, and what functions among that use. */
const neededFirst = <D extends Defined>(one: D, group: ReadonlyMap<string, D>): ReadonlySet<D> => {
  const needed = new Set<D>()
  const seen = new Set<string>()
  const look = (names: ReadonlyArray<string>): void => {
    for (const name of names) {
      const other = group.get(name)
      if (other === undefined || seen.has(name)) continue
      seen.add(name)
      if (other.kind === "function") look(other.uses)
      else if (other !== one) needed.add(other)
    }
  }
  look(one.usesFirst)
  return needed
}

const orderGroup = <D extends Defined>(members: ReadonlyArray<D>): ReadonlyArray<D> | Circle => {
  const group = new Map(members.map((member) => [member.name, member]))
  const ordered = members.filter((member) => member.kind === "function")
  const done = new Set<D>(ordered)
  const way: Array<string> = []
  const place = (one: D): Circle | undefined => {
    if (done.has(one)) return undefined
    if (way.includes(one.name)) return { names: way.slice(way.indexOf(one.name)) }
    way.push(one.name)
    for (const other of neededFirst(one, group)) {
      const circle = place(other)
      if (circle !== undefined) return circle
    }
    way.pop()
    done.add(one)
    ordered.push(one)
    return undefined
  }
  for (const member of members) {
    const circle = place(member)
    if (circle !== undefined) return circle
  }
  return ordered
}

/** Groups to be defined one after the other, or classes for which there is no order. */
export const order = <D extends Defined>(all: ReadonlyArray<D>): ReadonlyArray<ReadonlyArray<D>> | Circle => {
  const groups: Array<ReadonlyArray<D>> = []
  for (const members of components(new Map(all.map((one) => [one.name, one])))) {
    const ordered = orderGroup(members)
    if ("names" in ordered) return ordered
    groups.push(ordered)
  }
  return groups
}
