/**
 * A small shell process that outlives its daemon by a moment: when the pipe from
 * the daemon ends, however the daemon ended, it kills all slots with what they
 * started and removes the daemon's directory. It has a session of its own, so that
 * what kills the daemon's group does not reach it.
 */
import { type ChildProcess, spawn } from "node:child_process"
import type { Socket } from "node:net"
import { markerName } from "./ProcessTree.ts"

/** Words on stdin: `add <group>`, `del <group>`, `bye`. Arguments: marker prefix, directory. */
const script = `
trap '' HUP INT TERM QUIT
groups=
while read -r verb group; do
  case $verb in
    add) groups="$groups $group" ;;
    del) rest=; for one in $groups; do [ "$one" = "$group" ] || rest="$rest $one"; done; groups=$rest ;;
    bye) exit 0 ;;
  esac
done
for round in 1 2 3 4 5 6 7 8 9 10; do
  for one in $groups; do kill -s KILL -- "-$one"; done
  left=
  for file in $(grep -l "${markerName}=$1[.]" /proc/[0-9]*/environ); do
    pid=\${file#/proc/}
    kill -s KILL "\${pid%/environ}" && left=yes
  done
  [ -z "$left" ] && break
done
rm -rf -- "$2"
`

/** A guardian at work; it is replaced when it dies. */
export interface Guardian {
  /** Watches over a process group. */
  readonly add: (group: number) => void
  /** The group is gone. */
  readonly remove: (group: number) => void
  /** Everything is gone: the guardian ends without doing anything. */
  readonly dismiss: () => Promise<void>
}

const restartMillis = 200

/** No guardian: on Windows there are no process groups. */
const none: Guardian = { add: () => {}, remove: () => {}, dismiss: () => Promise.resolve() }

/** Starts a guardian over the slots whose markers begin with `prefix.`. */
export const start = (prefix: string, directory: string, path: string): Guardian => {
  if (process.platform === "win32") return none
  const groups = new Set<number>()
  let isDismissed = false
  let child: ChildProcess
  const tell = (line: string): void => void child.stdin?.write(`${line}\n`)
  const run = (): void => {
    if (isDismissed) return
    child = spawn("/bin/sh", ["-c", script, "dispy-guardian", prefix, directory], {
      detached: true,
      cwd: "/",
      env: { PATH: path },
      stdio: ["pipe", "ignore", "ignore"]
    })
    // Nobody waits for the guardian: it must not keep the daemon from ending.
    child.unref()
    child.stdin!.on("error", () => {})
    ;(child.stdin as Socket).unref()
    child.on("error", () => {})
    const startedAt = performance.now()
    child.on("exit", () => {
      if (isDismissed) return
      // One that cannot live is not started over and over.
      setTimeout(run, performance.now() - startedAt < 1000 ? restartMillis : 0).unref()
    })
    for (const group of groups) tell(`add ${group}`)
  }
  run()
  return {
    add: (group) => {
      groups.add(group)
      tell(`add ${group}`)
    },
    remove: (group) => {
      groups.delete(group)
      tell(`del ${group}`)
    },
    dismiss: () =>
      new Promise((resolve) => {
        isDismissed = true
        if (child.exitCode !== null || child.signalCode !== null) return resolve()
        child.ref()
        child.on("exit", () => resolve())
        tell("bye")
      })
  }
}
