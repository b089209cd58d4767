/** Objects of your own classes as arguments and results: they arrive as instances, with their methods. */
import { createJobCluster } from "dispy/promise"

/** A disc that knows how much of it a grid of points says that it covers. */
class Disc {
  readonly radius: number
  /** How many of the points are inside; 0 before anybody has counted. */
  inside = 0
  points = 0

  constructor(radius: number) {
    this.radius = radius
  }

  has(x: number, y: number): boolean {
    return x * x + y * y <= this.radius * this.radius
  }

  get area(): number {
    return 4 * this.radius * this.radius * this.inside / this.points
  }
}

/** Runs on the nodes: takes a disc and gives it back, counted. */
function count(disc: Disc, steps: number): Disc {
  const width = 2 * disc.radius / steps
  for (let i = 0; i < steps; i++) {
    for (let j = 0; j < steps; j++) {
      if (disc.has((i + 0.5) * width - disc.radius, (j + 0.5) * width - disc.radius)) disc.inside++
    }
  }
  disc.points = steps * steps
  return disc
}

await using cluster = await createJobCluster(count, { depends: [Disc] })
const jobs = [1, 2, 3].map((radius) => cluster.submit(new Disc(radius), 1000))
for (const job of jobs) {
  const disc = await job.result()
  console.log(`${disc instanceof Disc ? "a disc" : "something"} of radius ${disc.radius}: ${disc.area.toFixed(2)}`)
}
