/**
 * Turns a user's function or class into source text that stands alone, or says what ties it to the place where it was
 * written.
 *
 * `source` is an expression which evaluates to the function, in a scope whose parameters are the names of `captures`
 * and of `depends`. It keeps the function's mode (strict, as in every module) and the lines of its text, and carries
 * the compiler's helpers that it uses.
 */
import * as acorn from "acorn"
import { Effect } from "effect"
import { FreeVariables, NotAFunction, UnsupportedFunction } from "../../domain/ComputationError.ts"
import * as CompilerHelpers from "./CompilerHelpers.ts"
import * as FreeNames from "./FreeNames.ts"
import * as KnownGlobals from "./KnownGlobals.ts"

export interface Analysed {
  /** The function's own name, "anonymous" without one. */
  readonly name: string
  readonly source: string
  readonly isAsync: boolean
  readonly isGenerator: boolean
  /** The source text of each parameter. */
  readonly params: ReadonlyArray<string>
  /** The names of `depends` that it uses. */
  readonly uses: ReadonlyArray<string>
}

/** A function or class that others find by its name. */
export interface Defined {
  readonly kind: "function" | "class"
  readonly name: string
  readonly source: string
  readonly uses: ReadonlyArray<string>
  /** Those of them that a class uses while it is being defined: its base, static fields and blocks, computed keys. */
  readonly usesFirst: ReadonlyArray<string>
  /** Whether instances have private members. */
  readonly hasPrivates: boolean
}

export interface Options {
  /** Values sent along; the function may use their names. */
  readonly captures: Record<string, unknown>
  /** Names of functions and classes that are sent along as source. */
  readonly depends?: ReadonlyArray<string>
}

type AnyFunction = Function

interface Form {
  /** An expression that evaluates to the function. */
  readonly expression: string
  readonly function: acorn.FunctionExpression | acorn.ArrowFunctionExpression
  /** The code that the positions in `function` belong to, and where in it the function's own text starts. */
  readonly code: string
  readonly offset: number
  readonly isStrict: boolean
  /** Whether a use of the function's name means the function: not for methods. */
  readonly isNamed: boolean
}

/** Checks a function and makes it ready to be shipped. */
export const analyse = Effect.fnUntraced(function*(
  fn: AnyFunction,
  options: Options
): Effect.fn.Return<Analysed, NotAFunction | UnsupportedFunction | FreeVariables> {
  if (typeof fn !== "function") return yield* new NotAFunction({ received: `a value of type ${typeof fn}` })
  const name = fn.name.trim() === "" ? "anonymous" : fn.name.trim()
  const unsupported = (reason: string) => new UnsupportedFunction({ computation: name, reason })

  const known = new Set([...Object.keys(options.captures), ...options.depends ?? []])
  const bad = Array.from(known).find((key) => !isVariable(key))
  if (bad !== undefined) return yield* unsupported(`${JSON.stringify(bad)} in its captures is no name of a variable`)
  const twice = options.depends?.find((key) => Object.hasOwn(options.captures, key))
  if (twice !== undefined) {
    return yield* unsupported(`${twice} is in its captures and in depends: which of them is meant?`)
  }

  const form = parse(fn)
  if (typeof form === "string") return yield* unsupported(form)
  const ties = FreeNames.find(form.function)
  const tie = reasonAgainst(ties)
  if (tie !== undefined) return yield* unsupported(tie)

  const free = ties.names.filter((use) => !known.has(use.name) && !KnownGlobals.names.has(use.name))
  // `const fib = (n) => n < 2 ? n : fib(n - 1) + fib(n - 2)` means itself by the name it was given.
  const isRecursive = form.isNamed && free.some((use) => use.name === name)
  const isGiven = (use: FreeNames.Use) =>
    Object.hasOwn(CompilerHelpers.helpers, use.name) || isRecursive && use.name === name
  const missing = free.filter((use) => !isGiven(use))
  if (missing.length > 0) {
    return yield* new FreeVariables({ computation: name, variables: missing.map((use) => placeOf(use, form)) })
  }
  return {
    name,
    source: standAlone(form, free.map((use) => use.name), isRecursive ? name : undefined),
    isAsync: form.function.async,
    isGenerator: form.function.generator,
    params: form.function.params.map((param) => form.code.slice(param.start, param.end)),
    uses: usesOf(ties, options.depends ?? [])
  }
})

const usesOf = (ties: FreeNames.Ties, depends: ReadonlyArray<string>): ReadonlyArray<string> => {
  const names = new Set(ties.names.map((use) => use.name))
  return depends.filter((name) => names.has(name))
}

/** What a function has by itself; anything else was put there by the user and would be lost. */
const ordinary: ReadonlySet<string | symbol> = new Set(["length", "name", "prototype", "arguments", "caller"])

/** Whether a value is a class, by its text: only classes have prototypes that cannot be written. */
export const isClass = (value: unknown): value is Function =>
  typeof value === "function" && /^class\b/.test(Function.prototype.toString.call(value))

/**
 * Checks a function or class of `depends` and makes it ready to be shipped. `depends` are the names of all of them, its
 * own too.
 */
export const define = Effect.fnUntraced(function*(
  fn: AnyFunction,
  depends: ReadonlyArray<string>
): Effect.fn.Return<Defined, NotAFunction | UnsupportedFunction | FreeVariables> {
  const { name } = fn
  if (isClass(fn)) return yield* defineClass(fn, depends)
  const own = Reflect.ownKeys(fn).find((key) => !ordinary.has(key))
  if (own !== undefined) {
    const property = typeof own === "string" ? own : `[${String(own)}]`
    return yield* new UnsupportedFunction({
      computation: name,
      reason: `its property ${property} would be lost; write a class with static members, or pass it as an argument`
    })
  }
  const form = parse(fn)
  if (typeof form !== "string" && !form.isNamed) {
    return yield* new UnsupportedFunction({
      computation: name,
      reason: "it is a method, which others cannot find by its name; write a function"
    })
  }
  const analysed = yield* analyse(fn, { captures: {}, depends: depends.filter((other) => other !== name) })
  return {
    kind: "function",
    name,
    source: named(name, analysed.source),
    uses: analysed.uses,
    usesFirst: [],
    hasPrivates: false
  }
})

/** The name is inferred from the variable. */
const named = (name: string, source: string): string => `(() => { const ${name} = ${source}; return ${name} })()`

const defineClass = Effect.fnUntraced(function*(
  fn: AnyFunction,
  depends: ReadonlyArray<string>
): Effect.fn.Return<Defined, UnsupportedFunction | FreeVariables> {
  const { name } = fn
  const text = Function.prototype.toString.call(fn)
  const parsed = tryParse("(", `${text}\n)`, true)
  const node = parsed?.node
  if (node?.type !== "ClassExpression") {
    const reason = "its source cannot be parsed; let your compiler target ES2022 or newer"
    return yield* new UnsupportedFunction({ computation: name, reason })
  }
  const ties = FreeNames.find(node)
  const tie = reasonAgainst(ties)
  if (tie !== undefined) return yield* new UnsupportedFunction({ computation: name, reason: tie })
  const known = new Set([...depends, name])
  const free = ties.names.filter((use) => !known.has(use.name) && !KnownGlobals.names.has(use.name))
  const missing = free.filter((use) => !Object.hasOwn(CompilerHelpers.helpers, use.name))
  if (missing.length > 0) {
    const variables = missing.map((use) => placeIn(use, parsed!.code, parsed!.offset))
    return yield* new FreeVariables({ computation: name, kind: "class", variables })
  }
  const given = free.map((use) => `const ${use.name} = ${CompilerHelpers.helpers[use.name]}; `).join("")
  return {
    kind: "class",
    name,
    source: `(() => { "use strict"; ${given}const ${name} = (${text}\n); return ${name} })()`,
    uses: usesOf(ties, depends),
    usesFirst: usesOf({ ...ties, names: firstUses(node) }, depends),
    hasPrivates: node.body.body.some((member) =>
      "key" in member && member.key.type === "PrivateIdentifier" && !member.static
    )
  }
})

/** What is used while a class is being defined, as far as can be told: all in its static parts, base and keys. */
const firstUses = (node: acorn.ClassExpression): ReadonlyArray<FreeNames.Use> => {
  const body = node.body.body.flatMap((member): Array<typeof member> => {
    if (member.type === "StaticBlock" || (member.type === "PropertyDefinition" && member.static)) return [member]
    if (!member.computed) return []
    return [
      member.type === "PropertyDefinition"
        ? { ...member, value: null }
        : { ...member, value: { ...member.value, params: [], body: { ...member.value.body, body: [] } } }
    ]
  })
  return FreeNames.find({ ...node, body: { ...node.body, body } }).names
}

/** Whether a strict function may have a parameter of this name. */
const isVariable = (name: string): boolean =>
  /^[\p{ID_Start}$_][\p{ID_Continue}$\u200c\u200d]*$/u.test(name) &&
  tryParse("", `((${name}) => 0)`, true) !== undefined

const tryParse = (before: string, rest: string, isStrict: boolean) => {
  const start = isStrict ? `"use strict"; ${before}` : before
  const code = start + rest
  try {
    const { body } = acorn.parse(code, {
      ecmaVersion: "latest",
      sourceType: "script",
      // These are refused below, with a better explanation.
      allowSuperOutsideMethod: true,
      allowImportExportEverywhere: true,
      checkPrivateFields: false
    })
    const last = body.at(-1)
    return last?.type === "ExpressionStatement" ? { node: last.expression, code, offset: start.length } : undefined
  } catch {
    return undefined
  }
}

/** The function's text as an expression, or why there is none. */
const parse = (fn: AnyFunction): Form | string => {
  const text = Function.prototype.toString.call(fn)
  if (/\{\s*\[native code\]\s*\}\s*$/.test(text)) {
    return fn.name.startsWith("bound ")
      ? "it is a bound function, whose source is hidden; send the original and pass what was bound as arguments"
      : "it is a native function, which has no source; write a function that calls it"
  }
  if (/^class\b/.test(text)) return "it is a class; write a function that makes an instance and uses it"
  // Sloppy functions have this property; kinds which never have it are taken for strict where their syntax allows it.
  for (const isStrict of Object.hasOwn(fn, "caller") ? [false] : [true, false]) {
    const form = asExpression(text, isStrict) ?? asMethod(fn, text, isStrict)
    if (form !== undefined) return form
  }
  return "its source cannot be parsed; move it to a module of its own and use Computation.fromModule"
}

const asExpression = (text: string, isStrict: boolean): Form | undefined => {
  const parsed = tryParse("(", `${text}\n)`, isStrict)
  const node = parsed?.node
  if (node?.type !== "FunctionExpression" && node?.type !== "ArrowFunctionExpression") return undefined
  return { ...parsed!, expression: `(${text}\n)`, function: node, isStrict, isNamed: true }
}

/** `compute(n) {…}`, the text of a method, means something only inside of an object or, if private, of a class. */
const asMethod = (fn: AnyFunction, text: string, isStrict: boolean): Form | string | undefined => {
  const parsed = tryParse("({", `${text}\n})`, isStrict) ?? tryParse("(class {", `${text}\n})`, isStrict)
  const node = parsed?.node
  const member = node?.type === "ObjectExpression"
    ? node.properties[0]
    : node?.type === "ClassExpression"
    ? node.body.body[0]
    : undefined
  if (member?.type !== "Property" && member?.type !== "MethodDefinition") return undefined
  if (member.kind === "get" || member.kind === "set") {
    return `it is a ${member.kind}ter; write a function that uses the property`
  }
  const { value } = member
  if (value?.type !== "FunctionExpression") return undefined
  const prefix = `${value.async ? "async " : ""}${value.generator ? "*" : ""}`
  // The text's key may be computed from variables, or private; the name it gave the function is known.
  const key = JSON.stringify(fn.name)
  const rest = parsed!.code.slice(value.start, value.end)
  return { ...parsed!, expression: `({ ${prefix}${key}${rest} })[${key}]`, function: value, isStrict, isNamed: false }
}

const reasonAgainst = (ties: FreeNames.Ties): string | undefined => {
  if (ties.usesSuper) {
    return "it uses super, which belongs to its class; call what it needs by name, or use Computation.fromModule"
  }
  if (ties.usesImportMeta) {
    return "it uses import.meta, which belongs to its module; use Computation.fromModule, which bundles the module"
  }
  if (ties.usesOuterThis) {
    return "it is an arrow function that uses the this of the place where it was written; pass what it needs as arguments"
  }
  if (ties.usesWith) return "it uses with, so its variables cannot be told from properties"
  const [privateName] = ties.privateNames
  if (privateName !== undefined) {
    return `it uses #${privateName}, which only its class can; pass what it needs as arguments`
  }
  const [specifier] = ties.relativeImports
  if (specifier !== undefined) {
    return `it imports "${specifier}", which is relative to its file; use Computation.fromModule, which bundles what it imports`
  }
  return undefined
}

const placeOf = (use: FreeNames.Use, form: Form) => placeIn(use, form.code, form.offset)

const placeIn = (use: FreeNames.Use, code: string, offset: number) => {
  const before = code.slice(offset, use.start).split("\n")
  return { name: use.name, line: before.length, column: before.at(-1)!.length + 1 }
}

const standAlone = (form: Form, free: ReadonlyArray<string>, self: string | undefined): string => {
  const helpers = free.filter((name) => name !== self)
  if (!form.isStrict && free.length === 0) return form.expression
  // Everything in front of the function is on its first line, so that its lines keep their numbers.
  const mode = form.isStrict ? `"use strict"; ` : ""
  const given = helpers.map((name) => `const ${name} = ${CompilerHelpers.helpers[name]}; `).join("")
  const result = self === undefined ? `return ${form.expression}` : `const ${self} = ${form.expression}; return ${self}`
  return `(() => { ${mode}${given}${result} })()`
}
