/**
 * The value codec: what `structuredClone` can copy goes over the wire and arrives the same.
 *
 * Used by the client and inside job slots, so it is plain JavaScript that loads fast. Scheduler and daemons pass the
 * bytes on without looking. With a `ClassTable` the instances of its classes arrive as instances. `docs/decisions/0002-value-codec.md` has the reasons and the differences from
 * `structuredClone`; `ValueFormat` has the bytes.
 */
import type { ClassTable } from "./ClassTable.ts"
import * as Thrown from "./ThrownError.ts"
import { InvalidValue } from "./ValueInput.ts"
import { NotCloneable } from "./ValueKinds.ts"
import * as Reader from "./ValueReader.ts"
import * as Writer from "./ValueWriter.ts"

export { InvalidValue, NotCloneable }

/**
 * The bytes of a value. They stay valid and are nobody else's, though their ArrayBuffer may hold other bytes too.
 * Throws `NotCloneable`, with the path from `root` to the culprit, or whatever a getter of the value throws. With a list
 * for it, shared memory is put there instead of being copied; the decoder needs that list.
 */
export const encode = (
  value: unknown,
  root = "value",
  classes?: ClassTable,
  memory?: Array<SharedArrayBuffer>
): Uint8Array => Writer.encode(value, root, classes, memory)

/**
 * The value of some bytes, sharing no memory with them. Throws `InvalidValue` for any other bytes, or what the
 * `Symbol.for("dispy.decode")` of a class throws.
 */
export const decode = (
  bytes: Uint8Array,
  classes?: ClassTable,
  memory?: ReadonlyArray<SharedArrayBuffer>
): unknown => Reader.decode(bytes, classes, memory)

/** As `encode`, for an array of arguments made by the caller (dense, without properties): skips looking for those. */
export const encodeArgs = (args: ReadonlyArray<unknown>, classes?: ClassTable): Uint8Array =>
  Writer.encodeArgs(args, "args", classes)

/** The arguments of a job. Throws `InvalidValue` for bytes that hold anything but an array. */
export const decodeArgs = (bytes: Uint8Array, classes?: ClassTable): Array<unknown> => {
  const args = Reader.decode(bytes, classes)
  if (!Array.isArray(args)) throw new InvalidValue("an array of arguments is expected", 1)
  return args
}

/**
 * The bytes of what a job threw, whatever that is. Never throws, and stays small: texts are cut after 64 KiB in all,
 * fields which cannot be sent are left out and named.
 */
export const encodeError = (thrown: unknown, classes?: ClassTable): Uint8Array => Thrown.encodeError(thrown, classes)

/** What a job threw. Throws `InvalidValue` for bytes that `encodeError` did not write. */
export const decodeError = (bytes: Uint8Array, classes?: ClassTable): Thrown.Thrown =>
  Thrown.decodeError(bytes, classes)
