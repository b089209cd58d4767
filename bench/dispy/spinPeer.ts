/** Runs `spin` for a while in a process of its own and tells how often per second. */
import { spin } from "./spin.ts"

process.on("message", ([spins, millis]: [number, number]) => {
  const run = (duration: number): number => {
    let count = 0
    const start = performance.now()
    while (performance.now() - start < duration) {
      spin(spins)
      count++
    }
    return count / ((performance.now() - start) / 1000)
  }
  run(300)
  process.send!(run(millis))
})
process.send!("ready")
