/**
 * Functions that compilers put into a file for the functions in it to use: esbuild (also inside tsx and bundlers),
 * TypeScript and vite. A function shipped as source leaves them behind, so it is given those again that it uses.
 *
 * They are texts, not functions, since a compiler could put helpers of its own into functions. What compilers need
 * only for targets older than ES2018 is left out: its absence is named like that of any other variable.
 */
const asGenerator = (call: string): string =>
  `new Promise((resolve, reject) => { ` +
  `const onward = (method) => (value) => { try { step(generator[method](value)) } catch (error) { reject(error) } }; ` +
  `const step = (result) => result.done ? resolve(result.value) ` +
  `: Promise.resolve(result.value).then(onward("next"), onward("throw")); ` +
  `generator = ${call}; step(generator.next()) })`

const define = `Object.defineProperty(target, key, { value, configurable: true, enumerable: true, writable: true })`

const without =
  `(source, keys) => { const target = { ...source }; for (const key of keys) delete target[key]; return target }`

/** The helpers by name, as expressions. */
export const helpers: Readonly<Record<string, string>> = {
  // esbuild
  __name: `(target, value) => Object.defineProperty(target, "name", { value, configurable: true })`,
  __defNormalProp: `(target, key, value) => ${define}`,
  __publicField: `(target, key, value) => (${define}, value)`,
  __async: `(self, args, generator) => ${asGenerator("generator.apply(self, args)")}`,
  __spreadValues:
    `(target, source) => Object.defineProperties(target, Object.getOwnPropertyDescriptors({ ...source }))`,
  __spreadProps: `(target, source) => Object.defineProperties(target, Object.getOwnPropertyDescriptors(source))`,
  __objRest: without,
  __using: `(stack, value, async) => { ` +
    `if (value == null) { if (async) stack.push([async]); return value } ` +
    `let dispose = async ? value[Symbol.asyncDispose] : undefined; ` +
    `if (dispose === undefined) { const inner = value[Symbol.dispose]; ` +
    `dispose = async && inner ? function() { try { inner.call(this) } catch (error) { return Promise.reject(error) } } : inner } ` +
    `if (typeof dispose !== "function") throw new TypeError("Object not disposable"); ` +
    `stack.push([async, dispose, value]); return value }`,
  __callDispose: `(stack, error, hasError) => { ` +
    // Node 22 has no SuppressedError.
    `const fail = (next) => { error = hasError && typeof SuppressedError === "function" ` +
    `? new SuppressedError(next, error, "An error was suppressed during disposal") : next; hasError = true }; ` +
    `const next = () => { for (let entry; entry = stack.pop();) { try { const result = entry[1] && entry[1].call(entry[2]); ` +
    `if (entry[0]) return Promise.resolve(result).then(next, (error) => { fail(error); return next() }) } ` +
    `catch (error) { fail(error) } } if (hasError) throw error }; return next() }`,
  // TypeScript
  __awaiter: `(self, args, _, generator) => ${asGenerator("generator.apply(self, args || [])")}`,
  __assign: `Object.assign`,
  __rest: without,
  __spreadArray: `(to, from) => [...to, ...from]`,
  // vite, and vitest on it
  __vite_ssr_dynamic_import__: `(specifier) => import(specifier)`
}
