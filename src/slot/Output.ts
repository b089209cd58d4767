/**
 * Catches what a job prints through `process.stdout`, `process.stderr` and
 * `console`, so that it can travel in the job's reply: exact, bounded, and without
 * a system call per line. Jobs that run for a while pass theirs on at once, so that
 * it is not lost when they are killed.
 */
import * as fs from "node:fs"
import { syncBuiltinESMExports } from "node:module"
import { Writable } from "node:stream"
import { format } from "node:util"
import * as BoundedOutput from "../domain/wire/BoundedOutput.ts"
import * as PrintedText from "../domain/wire/PrintedText.ts"
import * as Channel from "./Channel.ts"

/** A descriptor that jobs print to. */
export type Descriptor = 1 | 2

/** What a job printed and the node does not have yet. */
export interface Prints {
  readonly stdout: BoundedOutput.BoundedOutput
  readonly stderr: BoundedOutput.BoundedOutput
}

/** A job that prints. */
export interface Printer {
  readonly jobId: number
  /** Null as long as it has printed nothing. */
  prints: Prints | null
}

/** Where output goes. */
export interface Output {
  /** The job whose code runs; output of none goes to the descriptors. */
  printer: () => Printer | null
  /** Whether what it printed goes to the node now rather than at the end of the job. */
  shouldPass: (printer: Printer) => boolean
  limitBytes: number
  /** Something may have written to the descriptors themselves. */
  isNative: boolean
  /** How much of Node was loaded when that was last looked into. */
  modulesSeen: number
  /** Until the slot is ready: what was printed, for the message that says why it is not. */
  early: Prints | null
}

/** Bytes of stdout, and of stderr, that are kept of what is printed before the slot is ready. */
const earlyBytes = 8 * 1024

/** The output of this slot, before it knows its computation. */
export const make = (): Output => ({
  printer: () => null,
  shouldPass: () => false,
  limitBytes: 0,
  isNative: false,
  modulesSeen: 0,
  early: makePrints(earlyBytes)
})

/** Nothing printed yet, of a job that may print so much. */
export const makePrints = (limitBytes: number): Prints => ({
  stdout: BoundedOutput.make(limitBytes),
  stderr: BoundedOutput.make(limitBytes)
})

const print = (output: Output, descriptor: Descriptor, chunk: string | Uint8Array, encoding?: BufferEncoding): void => {
  const bytes = typeof chunk === "string" ? Buffer.from(chunk, encoding) : chunk
  const printer = output.printer()
  if (printer === null) {
    if (output.early !== null) BoundedOutput.write(descriptor === 1 ? output.early.stdout : output.early.stderr, bytes)
    return writeAll(descriptor, bytes)
  }
  const { stderr, stdout } = printer.prints ??= makePrints(output.limitBytes)
  BoundedOutput.write(descriptor === 1 ? stdout : stderr, bytes)
  if (output.shouldPass(printer)) passOn(printer)
}

/** Sends what was printed and not sent yet. */
export const passOn = ({ jobId, prints }: Printer): void => {
  if (prints === null) return
  const { stderr, stdout } = prints
  if (!BoundedOutput.isEmpty(stdout)) Channel.sendOutput(jobId, 1, BoundedOutput.takePart(stdout))
  if (!BoundedOutput.isEmpty(stderr)) Channel.sendOutput(jobId, 2, BoundedOutput.takePart(stderr))
}

/** What was printed up to now, to follow the reason why the slot does not get ready. */
export const takeEarly = (output: Output): string => {
  if (output.early === null) return ""
  const [stdout, stderr] = [output.early.stdout, output.early.stderr].map((one) =>
    new TextDecoder().decode(BoundedOutput.render(BoundedOutput.take(one)))
  )
  return PrintedText.after(stdout!, stderr!)
}

const rawWrite = fs.writeSync

/** Writes to a descriptor of this process; what cannot be written is dropped. */
export const writeAll = (descriptor: number, bytes: Uint8Array): void => {
  try {
    for (let offset = 0; offset < bytes.length;) offset += rawWrite(descriptor, bytes, offset)
  } catch {
    // The node is gone or reads no more: nobody could see it.
  }
}

const stream = (output: Output, descriptor: Descriptor): Writable => {
  const made = new Writable({
    autoDestroy: false,
    emitClose: false,
    decodeStrings: false,
    write: (chunk: string | Uint8Array, encoding, done) => {
      print(output, descriptor, chunk, encoding)
      done()
    },
    writev: undefined
  })
  const quiet = (_error: unknown, done: (error: null) => void): void => done(null)
  return Object.assign(made, {
    fd: descriptor,
    _isStdio: true,
    _type: "pipe",
    destroySoon: made.destroy,
    _destroy: quiet
  })
}

const isDescriptor = (fd: unknown): fd is Descriptor => fd === 1 || fd === 2

/** What is written by `fs` to descriptors 1 and 2 is caught like the rest or, where that is not possible, noticed. */
const patchFs = (output: Output): void => {
  const patched = fs as { -readonly [K in keyof typeof fs]: unknown }
  for (const name of ["writeSync", "write", "writevSync", "writev", "writeFile", "writeFileSync", "appendFileSync"]) {
    const original = Reflect.get(fs, name) as (...args: Array<unknown>) => unknown
    const noticing = (...args: Array<unknown>): unknown => {
      if (isDescriptor(args[0])) output.isNative = true
      return original(...args)
    }
    // `util.promisify` looks at symbols of the function.
    Reflect.set(patched, name, Object.defineProperties(noticing, Object.getOwnPropertyDescriptors(original)))
  }
  const open = process.dlopen
  process.dlopen = (...args: Array<unknown>): void => {
    output.isNative = true
    Reflect.apply(open, process, args)
  }
  syncBuiltinESMExports()
}

/** The process of a thread calls methods of the thread's own streams, by symbols: here they have nothing to do. */
const answerHost = (made: Writable, original: object): Writable => {
  for (const symbol of Object.getOwnPropertySymbols(Object.getPrototypeOf(original))) {
    if (!(symbol in made)) Object.defineProperty(made, symbol, { value: () => {} })
  }
  return made
}

/** Puts this slot's output in place of the process's own, or of the thread's. */
export const install = (output: Output, isThread: boolean): void => {
  for (const [name, descriptor] of [["stdout", 1], ["stderr", 2]] as const) {
    let made: Writable | undefined
    if (isThread) made = answerHost(stream(output, descriptor), process[name])
    Object.defineProperty(process, name, {
      configurable: true,
      enumerable: true,
      get: () => made ??= stream(output, descriptor)
    })
  }
  Reflect.set(process, "_rawDebug", (...args: Array<unknown>) => print(output, 2, `${format(...args)}\n`))
  patchFs(output)
}

/** Whether descriptors 1 and 2 may have been written to by children or native code up to now. */
export const mayBeNative = (output: Output): boolean => {
  if (output.isNative) return true
  const loaded = (process as unknown as { readonly moduleLoadList?: ReadonlyArray<string> }).moduleLoadList ?? []
  if (loaded.length === output.modulesSeen) return false
  for (let i = output.modulesSeen; i < loaded.length; i++) {
    if (loaded[i] === "NativeModule child_process" || loaded[i] === "NativeModule cluster") output.isNative = true
  }
  output.modulesSeen = loaded.length
  return output.isNative
}
