/** Bodies of functions that use more and more memory, each of another kind, and never end by themselves. */

const spawning = "const { spawn } = process.getBuiltinModule('node:child_process');"

/** By where the memory is. */
export const hogs = {
  "in the heap": "const all = []; for (;;) all.push(new Array(100000).fill(all.length))",
  "in buffers": "const all = []; for (;;) all.push(Buffer.alloc(1 << 20, 1))",
  "in array buffers, a little at a time": "const all = []; return new Promise(() => setInterval(() => " +
    "all.push(new Uint8Array(new ArrayBuffer(4 << 20)).fill(1)), 1))",
  "native": "const memory = new WebAssembly.Memory({ initial: 1, maximum: 65536 }); for (;;) { " +
    "const from = memory.buffer.byteLength; if (from < 2 ** 31) { memory.grow(16); " +
    "new Uint8Array(memory.buffer, from).fill(1) } }",
  "in a child": `${spawning} return new Promise(() => spawn(process.execPath, ` +
    `["-e", "const all = []; for (;;) all.push(Buffer.alloc(1 << 20, 1))"]))`,
  "in a grandchild that left its group": `${spawning} return new Promise(() => spawn("sh", ` +
    `["-c", "setsid sh -c 'a=0123456789abcdef; while :; do a=$a$a; done' & exec sleep 1000"]))`
} as const
