/** What code around the jobs printed before it failed, short enough for a message. */

const shownCharacters = 2_000

/** Begins with "; " where something was printed, to follow a reason; of long texts it has the end. */
export const after = (stdout: string, stderr: string): string =>
  [["stdout", stdout], ["stderr", stderr]].flatMap(([name, printed]) => {
    const end = printed!.trimEnd()
    return end === "" ? [] : [`; ${name}: ${end.length > shownCharacters ? `…${end.slice(-shownCharacters)}` : end}`]
  }).join("")
