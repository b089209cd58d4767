/**
 * Finds the names that a function uses but does not declare: a walk over its syntax tree with the scopes of
 * JavaScript. Says nothing about which of them exist elsewhere.
 *
 * Also finds the other ties to the place where the function was written: `super`, `import.meta`, the `this` of an
 * arrow function, private fields, relative imports.
 */
import type * as acorn from "acorn"

/** A use of a name that is not declared, or of something else of the surroundings. */
export interface Use {
  readonly name: string
  /** Offset in the text parsed. */
  readonly start: number
}

export interface Ties {
  /** First use of each name, in order. */
  readonly names: ReadonlyArray<Use>
  readonly usesSuper: boolean
  readonly usesImportMeta: boolean
  readonly usesOuterThis: boolean
  readonly usesWith: boolean
  /** Private names of a class around the function. */
  readonly privateNames: ReadonlyArray<string>
  /** Specifiers of `import(…)` that are relative to the function's file. */
  readonly relativeImports: ReadonlyArray<string>
}

interface Scope {
  readonly names: Set<string>
  readonly parent: Scope | undefined
}

/** What `this`, `super` and `new.target` mean at a place: something within the function walked, or its surroundings. */
interface Surroundings {
  readonly hasThis: boolean
  readonly hasSuper: boolean
  readonly privates: ReadonlySet<string>
}

type Function = acorn.Function | acorn.FunctionDeclaration | acorn.FunctionExpression | acorn.ArrowFunctionExpression

/** The ties of an expression, such as a function. */
export const find = (expression: acorn.Expression): Ties => {
  const names = new Map<string, Use>()
  const guarded = new Set<string>()
  const privateNames = new Set<string>()
  const relativeImports = new Set<string>()
  let usesSuper = false
  let usesImportMeta = false
  let usesOuterThis = false
  let usesWith = false

  const isDeclared = (name: string, scope: Scope): boolean => {
    for (let at: Scope | undefined = scope; at !== undefined; at = at.parent) if (at.names.has(name)) return true
    return false
  }

  const use = (name: string, start: number, scope: Scope): void => {
    if (!isDeclared(name, scope) && !names.has(name)) names.set(name, { name, start })
  }

  const visitAll = (nodes: ReadonlyArray<acorn.AnyNode | null>, scope: Scope, around: Surroundings): void => {
    for (const node of nodes) if (node !== null) visit(node, scope, around)
  }

  const visitFunction = (node: Function, outer: Scope, around: Surroundings, isMethod = false): void => {
    const isArrow = node.type === "ArrowFunctionExpression"
    const inner = isArrow ? around : { hasThis: true, hasSuper: isMethod, privates: around.privates }
    // The name of a function expression can be shadowed by a parameter; parameters do not see the body's variables.
    const self = node.type === "FunctionExpression" && node.id ? child(outer, [node.id.name]) : outer
    const params = child(self, node.params.flatMap(namesOf))
    if (!isArrow) params.names.add("arguments")
    visitAll(node.params, params, inner)
    if (node.body.type !== "BlockStatement") return visit(node.body, params, inner)
    const body = child(params, [...hoisted(node.body.body), ...lexical(node.body.body)])
    visitAll(node.body.body, body, inner)
  }

  const visitClass = (node: acorn.Class, outer: Scope, around: Surroundings): void => {
    const scope = child(outer, node.id ? [node.id.name] : [])
    const own = node.body.body.flatMap((member) =>
      "key" in member && member.key.type === "PrivateIdentifier" ? [member.key.name] : []
    )
    const inside = { hasThis: true, hasSuper: true, privates: new Set([...around.privates, ...own]) }
    if (node.superClass) visit(node.superClass, scope, around)
    for (const member of node.body.body) {
      if (member.type === "StaticBlock") {
        visitAll(member.body, child(scope, [...hoisted(member.body), ...lexical(member.body)]), inside)
        continue
      }
      if (member.computed) visit(member.key, scope, { ...around, privates: inside.privates })
      if (member.type === "MethodDefinition") visitFunction(member.value, scope, inside, true)
      else if (member.value) visit(member.value, child(scope, ["arguments"]), inside)
    }
  }

  /** `typeof name` is legal for names that do not exist; compared with "undefined" it guards all uses of the name. */
  const guardOf = (node: acorn.AnyNode, other: acorn.AnyNode): string | undefined =>
    node.type === "UnaryExpression" && node.operator === "typeof" && node.argument.type === "Identifier" &&
      other.type === "Literal" && (other.value === "undefined" || other.value === "u")
      ? node.argument.name
      : undefined

  const visitImport = (source: acorn.AnyNode | undefined): void => {
    const specifier = source?.type === "Literal" ? source.value : undefined
    if (typeof specifier === "string" && /^\.{0,2}\/|^#/.test(specifier)) relativeImports.add(specifier)
  }

  const visit = (node: acorn.AnyNode, scope: Scope, around: Surroundings): void => {
    switch (node.type) {
      case "Identifier":
        if (node.name === "__vite_ssr_import_meta__") usesImportMeta = true
        return use(node.name, node.start, scope)
      case "ThisExpression":
        if (!around.hasThis) usesOuterThis = true
        return
      case "Super":
        if (!around.hasSuper) usesSuper = true
        return
      case "MetaProperty":
        if (node.meta.name === "import") usesImportMeta = true
        return
      case "PrivateIdentifier":
        if (!around.privates.has(node.name)) privateNames.add(node.name)
        return
      case "MemberExpression":
        visit(node.object, scope, around)
        if (node.computed || node.property.type === "PrivateIdentifier") visit(node.property, scope, around)
        return recoverImport(node)
      case "UnaryExpression":
        if (node.operator === "typeof" && node.argument.type === "Identifier") return
        return visit(node.argument, scope, around)
      case "BinaryExpression": {
        const guard = guardOf(node.left, node.right) ?? guardOf(node.right, node.left)
        if (guard !== undefined && !isDeclared(guard, scope)) guarded.add(guard)
        return visitAll([node.left, node.right], scope, around)
      }
      case "Property":
        if (node.computed) visit(node.key, scope, around)
        return node.method || node.kind !== "init"
          ? visitFunction(node.value as acorn.FunctionExpression, scope, around, true)
          : visit(node.value, scope, around)
      case "FunctionDeclaration":
      case "FunctionExpression":
      case "ArrowFunctionExpression":
        return visitFunction(node, scope, around)
      case "ClassDeclaration":
      case "ClassExpression":
        return visitClass(node, scope, around)
      case "BlockStatement":
        return visitAll(node.body, child(scope, lexical(node.body)), around)
      case "SwitchStatement": {
        visit(node.discriminant, scope, around)
        const statements = node.cases.flatMap((item) => item.consequent)
        return visitAll(node.cases, child(scope, lexical(statements)), around)
      }
      case "ForStatement":
        return visitAll(
          [node.init ?? null, node.test ?? null, node.update ?? null, node.body],
          child(scope, node.init ? lexical([node.init]) : []),
          around
        )
      case "ForInStatement":
      case "ForOfStatement":
        return visitAll([node.left, node.right, node.body], child(scope, lexical([node.left])), around)
      case "CatchClause":
        return visitAll([node.param ?? null, node.body], child(scope, node.param ? namesOf(node.param) : []), around)
      case "LabeledStatement":
        return visit(node.body, scope, around)
      case "BreakStatement":
      case "ContinueStatement":
        return
      case "WithStatement":
        usesWith = true
        return visit(node.object, scope, around)
      case "ImportExpression":
        visitImport(node.source)
        return visitChildren(node, scope, around)
      case "CallExpression":
        if (node.callee.type === "Identifier" && node.callee.name === "__vite_ssr_dynamic_import__") {
          visitImport(node.arguments[0])
        }
        return visitChildren(node, scope, around)
      default:
        return visitChildren(node, scope, around)
    }
  }

  const visitChildren = (node: acorn.AnyNode, scope: Scope, around: Surroundings): void => {
    for (const part of Object.values(node)) {
      if (Array.isArray(part)) visitAll(part.filter(isNode), scope, around)
      else if (isNode(part)) visit(part, scope, around)
    }
  }

  /** vite turns `readFile` into `__vite_ssr_import_0__.readFile`: the user knows the import by its own name. */
  const recoverImport = (node: acorn.MemberExpression): void => {
    if (node.object.type !== "Identifier" || !viteImport.test(node.object.name)) return
    if (node.computed || node.property.type !== "Identifier" || !names.delete(node.object.name)) return
    const name = node.property.name === "default" ? "a default import" : node.property.name
    if (!names.has(name)) names.set(name, { name, start: node.start })
  }

  visit(expression, { names: new Set(), parent: undefined }, { hasThis: false, hasSuper: false, privates: new Set() })
  return {
    names: Array.from(names.values()).filter(({ name }) => !guarded.has(name)),
    usesSuper,
    usesImportMeta,
    usesOuterThis,
    usesWith,
    privateNames: Array.from(privateNames),
    relativeImports: Array.from(relativeImports)
  }
}

const viteImport = /^__vi(te_ssr)?_import_\d+__$/

const child = (parent: Scope, names: Iterable<string>): Scope => ({ names: new Set(names), parent })

const isNode = (value: unknown): value is acorn.AnyNode =>
  typeof value === "object" && value !== null && typeof (value as { type?: unknown }).type === "string"

/** The variables that a pattern declares. */
const namesOf = (pattern: acorn.Pattern): Array<string> => {
  switch (pattern.type) {
    case "Identifier":
      return [pattern.name]
    case "ObjectPattern":
      return pattern.properties.flatMap((part) => namesOf(part.type === "Property" ? part.value : part.argument))
    case "ArrayPattern":
      return pattern.elements.flatMap((part) => part === null ? [] : namesOf(part))
    case "RestElement":
      return namesOf(pattern.argument)
    case "AssignmentPattern":
      return namesOf(pattern.left)
    case "MemberExpression":
      return []
  }
}

/** Names with block scope which these statements declare themselves. */
const lexical = (statements: ReadonlyArray<acorn.AnyNode>): Array<string> =>
  statements.flatMap((statement) => {
    switch (statement.type) {
      case "VariableDeclaration":
        return statement.kind === "var" ? [] : statement.declarations.flatMap(({ id }) => namesOf(id))
      case "FunctionDeclaration":
      case "ClassDeclaration":
        return statement.id ? [statement.id.name] : []
      case "LabeledStatement":
        return lexical([statement.body])
      default:
        return []
    }
  })

/** Names with function scope: each `var` below these statements, outside of nested functions and classes. */
const hoisted = (nodes: ReadonlyArray<acorn.AnyNode>): Array<string> =>
  nodes.flatMap((node) => {
    switch (node.type) {
      case "VariableDeclaration":
        return node.kind === "var" ? node.declarations.flatMap(({ id }) => namesOf(id)) : []
      case "BlockStatement":
        // A sloppy function in a block is a variable of the function too.
        return [...hoisted(node.body), ...lexical(node.body.filter((item) => item.type === "FunctionDeclaration"))]
      case "IfStatement":
        return hoisted([node.consequent, ...(node.alternate ? [node.alternate] : [])])
      case "ForStatement":
        return hoisted([...(node.init ? [node.init] : []), node.body])
      case "ForInStatement":
      case "ForOfStatement":
        return hoisted([node.left, node.body])
      case "WhileStatement":
      case "DoWhileStatement":
      case "LabeledStatement":
        return hoisted([node.body])
      case "SwitchStatement":
        return hoisted(node.cases.flatMap((item) => item.consequent))
      case "TryStatement":
        return hoisted([
          node.block,
          ...(node.handler ? [node.handler.body] : []),
          ...(node.finalizer ? [node.finalizer] : [])
        ])
      default:
        return []
    }
  })
