/**
 * Files that single jobs take along, in one working directory: who uses which, so that each goes with the last job that
 * uses it. Jobs that bring the same content to the same place share it; a job that brings other content there has to
 * wait until nobody uses what is there.
 */
import type { FileEntry } from "../Computation.ts"
import { fold } from "../transfer/RelativePath.ts"

/** A file that jobs use. */
export interface Use {
  readonly path: string
  readonly sha256: string
  readonly jobs: Set<string>
  /** Not there yet; put there for jobs; or there before, and not theirs to remove. */
  state: "expected" | "brought" | "found"
}

/** Who uses which files. */
export interface FileUses {
  /** By what the path is on every file system. */
  readonly files: Map<string, Use>
  readonly jobs: Map<string, ReadonlyArray<string>>
}

/** Nobody uses any. */
export const make = (): FileUses => ({ files: new Map(), jobs: new Map() })

/** The first of these files whose place others use for another content; undefined when all can be used. */
export const clash = (self: FileUses, entries: ReadonlyArray<FileEntry>): FileEntry | undefined =>
  entries.find(({ path, sha256 }) => {
    const use = self.files.get(fold(path))
    return use !== undefined && (use.sha256 !== sha256 || use.path !== path)
  })

/** A job uses these files from now on; `clash` must know none of them. */
export const take = (self: FileUses, job: string, entries: ReadonlyArray<FileEntry>): void => {
  self.jobs.set(job, entries.map(({ path }) => fold(path)))
  for (const { path, sha256 } of entries) {
    const use = self.files.get(fold(path)) ?? { path, sha256, jobs: new Set(), state: "expected" }
    use.jobs.add(job)
    self.files.set(fold(path), use)
  }
}

/** The use of a place; undefined for files that no job takes along. */
export const at = (self: FileUses, path: string): Use | undefined => self.files.get(fold(path))

/** A job has ended: the files that go, since they were put there for jobs and nobody uses them any more. */
export const release = (self: FileUses, job: string): ReadonlyArray<Use> => {
  const gone: Array<Use> = []
  for (const place of self.jobs.get(job) ?? []) {
    const use = self.files.get(place)!
    use.jobs.delete(job)
    if (use.jobs.size > 0) continue
    self.files.delete(place)
    if (use.state === "brought") gone.push(use)
  }
  self.jobs.delete(job)
  return gone
}
