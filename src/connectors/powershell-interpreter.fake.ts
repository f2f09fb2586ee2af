/**
 * Runs PowerShell for tests: the grammar is tree-sitter's, so a text that does not parse fails here as it would on Windows, and
 * the commands are whatever the caller brings. Knows the part of the language that scripts for Windows targets are written in;
 * everything else is an error, never skipped. Strings are values: nothing that arrives as data is ever parsed.
 */
import type { Node } from "web-tree-sitter"
import { core, kids, parsePowerShell } from "./powershell-parser.fake"

export type Value = unknown
/** Named parameters in lower case without the dash, switches as true; positional ones in order. */
export interface CommandCall {
  readonly named: ReadonlyMap<string, Value>
  readonly positional: readonly Value[]
  readonly input: readonly Value[]
}
export interface Commands {
  readonly commands: Readonly<Record<string, (call: CommandCall) => Value[]>>
  /** `Type::Method` in lower case, without `System.`. */
  readonly statics: Readonly<Record<string, (...args: Value[]) => Value>>
}

class Thrown extends Error {}
/** Thrown by a command: the whole process dies there, without a catch or a finally. */
export class KilledPowerShell extends Error {}
class Returned {
  constructor(readonly values: Value[]) {}
}

interface Scope {
  readonly variables: Map<string, Value>
  readonly parent: Scope | null
}

const child = (parent: Scope | null): Scope => ({ variables: new Map(), parent })

const lookUp = (scope: Scope | null, name: string): Value =>
  scope === null ? null : scope.variables.has(name) ? scope.variables.get(name) : lookUp(scope.parent, name)

const unwrap = (values: readonly Value[]): Value =>
  values.length === 0 ? null : values.length === 1 ? values[0] : [...values]

const listOf = (value: Value): Value[] =>
  value === null || value === undefined ? [] : Array.isArray(value) ? value : [value]

const isTrue = (value: Value): boolean => (Array.isArray(value) ? value.length > 0 : Boolean(value))

const textOf = (value: Value): string => (value === null || value === undefined ? "" : String(value))

/** Text is compared without regard to case, and the left operand decides how. */
const compare = (left: Value, right: Value): number => {
  if (left instanceof Date && right instanceof Date) return left.getTime() - right.getTime()
  if (typeof left === "number") return left - Number(right)
  if (typeof left === "boolean") return Number(left) - Number(isTrue(right))
  if (left === null || right === null) return left === right ? 0 : 1
  const [one, other] = [textOf(left).toLowerCase(), textOf(right).toLowerCase()]
  return one < other ? -1 : one > other ? 1 : 0
}

const keyIn = (value: object, name: string): string | undefined => {
  for (let at: object | null = value; at !== null; at = Object.getPrototypeOf(at)) {
    const found = Object.getOwnPropertyNames(at).find((key) => key.toLowerCase() === name.toLowerCase())
    if (found !== undefined) return found
  }
  return undefined
}

/** What a script prints, given what stands on its standard input. */
export const runPowerShell = async (text: string, stdin: string, world: Commands): Promise<string> => {
  const tree = await parsePowerShell(text)
  const machine = interpreter(world)
  const lines = stdin === "" ? [] : stdin.replace(/\r?\n$/, "").split(/\r?\n/)
  try {
    machine.run(tree.rootNode, lines)
  } finally {
    tree.delete()
  }
  return machine.printed()
}

const interpreter = ({ commands, statics }: Commands) => {
  let out = ""
  const functions = new Map<string, { parameters: string[]; body: Node | null }>()

  const named = (node: Node, type: string): Node | null => kids(node).find((one) => one.type === type) ?? null

  const block = (node: Node | null, scope: Scope): Value[] => {
    if (node === null) return []
    const inner = kids(node)
      .filter(({ type }) => type !== "{" && type !== "}")
      .flatMap((one) => (one.type === "statement_list" ? kids(one) : [one]))
    return inner.flatMap((one) => statement(one, scope))
  }

  const statement = (node: Node, scope: Scope): Value[] => {
    switch (node.type) {
      case ";":
        return []
      case "statement_list":
      case "program":
      case "script_block":
      case "script_block_body":
        return kids(node).flatMap((one) => statement(one, scope))
      case "function_statement": {
        const parameters = node.descendantsOfType("function_parameter_declaration")[0]
        functions.set(textOf(named(node, "function_name")?.text).toLowerCase(), {
          parameters: (parameters?.descendantsOfType("variable") ?? []).map((one) => textOf(one?.text).slice(1)),
          body: named(node, "script_block"),
        })
        return []
      }
      case "if_statement":
        return branch(node, scope)
      case "foreach_statement": {
        const parts = kids(node)
        const variable = parts.find(({ type }) => type === "variable")
        const source = parts[parts.findIndex(({ type }) => type === "in") + 1]
        if (variable === undefined || source === undefined) throw new Error("foreach without in")
        return listOf(expression(source, scope)).flatMap((value) => {
          scope.variables.set(variable.text.slice(1).toLowerCase(), value)
          return block(named(node, "statement_block"), scope)
        })
      }
      case "try_statement":
        return attempt(node, scope)
      case "flow_control_statement":
        return leave(node, scope)
      default:
        return pipeline(node, scope)
    }
  }

  const branch = (node: Node, scope: Scope): Value[] => {
    const parts = kids(node)
    const condition = parts[parts.findIndex(({ type }) => type === "(") + 1]
    if (condition !== undefined && isTrue(expression(condition, scope))) {
      return block(named(node, "statement_block"), scope)
    }
    for (const otherwise of named(node, "elseif_clauses")?.children ?? []) {
      if (otherwise !== null && otherwise.type === "elseif_clause") throw new Error("elseif is not known here")
    }
    const rest = named(node, "else_clause")
    return rest === null ? [] : block(named(rest, "statement_block"), scope)
  }

  const attempt = (node: Node, scope: Scope): Value[] => {
    const handler = node.children.find((one) => one?.type === "catch_clauses")
    const last = named(node, "finally_clause")
    const printed: Value[] = []
    const finish = () => {
      if (last !== null) block(named(last, "statement_block"), scope)
    }
    try {
      printed.push(...block(named(node, "statement_block"), scope))
    } catch (error) {
      if (error instanceof KilledPowerShell) throw error
      const clause = handler === undefined || handler === null ? null : named(handler, "catch_clause")
      if (error instanceof Returned || clause === null) {
        finish()
        throw error
      }
      const message = error instanceof Error ? error.message : String(error)
      const previous = scope.variables.get("_")
      scope.variables.set("_", { Exception: { Message: message } })
      printed.push(...block(named(clause, "statement_block"), scope))
      scope.variables.set("_", previous)
    }
    finish()
    return printed
  }

  const leave = (node: Node, scope: Scope): Value[] => {
    const [word, value] = kids(node)
    const values = value === undefined ? [] : pipeline(value, scope)
    if (word?.type === "return") throw new Returned(values)
    if (word?.type === "throw") throw new Thrown(textOf(unwrap(values)))
    throw new Error(`${word?.text} is not known here`)
  }

  /** What a statement puts out: a list, for one value is enumerated. */
  const pipeline = (wrapped: Node, scope: Scope): Value[] => {
    const node = core(wrapped)
    if (node.type === "pipeline_chain") {
      let values: Value[] = []
      let isFirst = true
      for (const stage of kids(node).filter(({ type }) => type !== "|")) {
        values = isFirst ? pipeline(stage, scope) : values.length === 0 ? [] : command(core(stage), scope, values)
        isFirst = false
      }
      return values
    }
    if (node.type === "command" || node.type === "command_name") return command(node, scope, [])
    if (node.type === "assignment_expression") {
      assign(node, scope)
      return []
    }
    return listOf(expression(node, scope))
  }

  const assign = (node: Node, scope: Scope): void => {
    const [left, operator, right] = kids(node)
    if (left === undefined || right === undefined || operator?.text !== "=") throw new Error(`assignment: ${node.text}`)
    const value = expression(right, scope)
    const target = core(left)
    if (target.type === "variable") scope.variables.set(target.text.slice(1).toLowerCase(), value)
    else if (target.type === "member_access") {
      const [object, , name] = kids(target)
      const holder = object === undefined ? null : expression(object, scope)
      if (typeof holder !== "object" || holder === null) throw new Thrown("You cannot set a property on null.")
      const key = keyIn(holder, textOf(name?.text))
      if (key === undefined) throw new Thrown(`The property '${name?.text}' cannot be found on this object.`)
      Reflect.set(holder, key, value)
    } else throw new Error(`assignment to ${target.type}`)
  }

  const command = (node: Node, scope: Scope, input: Value[]): Value[] => {
    const nameNode = node.type === "command_name" ? node : named(node, "command_name")
    const name = textOf(nameNode?.text)
    const elements = node.type === "command_name" ? [] : kids(named(node, "command_elements") ?? node)
    const parameters = new Map<string, Value>()
    const positional: Value[] = []
    let pending: string | null = null
    const script = (value: Node) => (one: Value) => {
      const inner = child(scope)
      inner.variables.set("_", one)
      return returning(() => block(scriptBody(value), inner))
    }
    for (const wrapped of elements) {
      const element = core(wrapped)
      if (element.type === "command_parameter") {
        if (pending !== null) parameters.set(pending, true)
        pending = element.text.slice(1).toLowerCase()
        continue
      }
      const value =
        element.type === "script_block_expression"
          ? script(element)
          : element.type === "generic_token"
            ? element.text
            : expression(element, scope)
      if (pending === null) positional.push(value)
      else if (switches.has(pending)) {
        parameters.set(pending, true)
        positional.push(value)
      } else parameters.set(pending, value)
      pending = null
    }
    if (pending !== null) parameters.set(pending, true)

    const own = functions.get(name.toLowerCase())
    if (own !== undefined) {
      const inner = child(scope)
      own.parameters.forEach((parameter, index) => {
        inner.variables.set(parameter.toLowerCase(), positional[index] ?? null)
      })
      return returning(() => (own.body === null ? [] : statement(own.body, inner)))
    }
    const filter = positional[0] as (one: Value) => Value[]
    if (name === "Where-Object") return input.filter((one) => isTrue(unwrap(filter(one))))
    if (name === "ForEach-Object") return input.flatMap((one) => filter(one))
    const found = Object.hasOwn(commands, name) ? commands[name] : undefined
    if (found === undefined) {
      throw new Thrown(
        `The term '${name}' is not recognized as the name of a cmdlet, function, script file, or operable program.`,
      )
    }
    return found({ named: parameters, positional, input }).filter((one) => one !== null && one !== undefined)
  }

  const scriptBody = (node: Node): Node => named(node, "script_block") ?? node

  const returning = (run: () => Value[]): Value[] => {
    try {
      return run()
    } catch (error) {
      if (error instanceof Returned) return error.values
      throw error
    }
  }

  const expression = (wrapped: Node, scope: Scope): Value => {
    const node = core(wrapped)
    const parts = kids(node)
    const at = (index: number): Node => {
      const part = parts[index]
      if (part === undefined) throw new Error(`${node.type}: ${node.text}`)
      return part
    }
    switch (node.type) {
      case "command":
      case "command_name":
      case "pipeline_chain":
        return unwrap(pipeline(node, scope))
      case "variable":
      case "$_":
        return variable(node.text.slice(1).toLowerCase(), scope)
      case "verbatim_string_characters":
        return node.text.slice(1, -1).replaceAll("''", "'")
      case "decimal_integer_literal":
        return Number(node.text)
      case "parenthesized_expression":
        return unwrap(pipeline(at(1), scope))
      case "array_expression":
        return parts.slice(1, -1).flatMap((one) => statement(one, scope))
      case "hash_literal_expression":
        return Object.fromEntries(
          node.descendantsOfType("hash_entry").map((entry) => {
            const [key, , value] = entry === null ? [] : kids(entry)
            if (key === undefined || value === undefined) throw new Error(`hash: ${node.text}`)
            return [key.text, expression(value, scope)]
          }),
        )
      case "expression_with_unary_operator":
        if (at(0).text === "-") return -Number(expression(at(1), scope))
        if (at(0).text.toLowerCase() !== "-not") throw new Error(`${at(0).text} is not known here`)
        return !isTrue(expression(at(1), scope))
      case "logical_expression":
        return parts.slice(1).reduce<boolean>(
          (left, part, index) => {
            if (index % 2 === 0) return left
            const word = textOf(parts[index]?.text).toLowerCase()
            if (word === "-and") return left && isTrue(expression(part, scope))
            if (word === "-or") return left || isTrue(expression(part, scope))
            throw new Error(`${word} is not known here`)
          },
          isTrue(expression(at(0), scope)),
        )
      case "comparison_expression":
        return compared(expression(at(0), scope), at(1).text.toLowerCase(), at(2), scope)
      case "bitwise_expression":
        if (at(1).text.toLowerCase() !== "-band") throw new Error(`${at(1).text} is not known here`)
        return Number(expression(at(0), scope)) & Number(expression(at(2), scope))
      case "additive_expression":
      case "additive_argument_expression":
        return parts.slice(1).reduce<Value>(
          (left, part, index) => {
            if (index % 2 === 0) return left
            if (parts[index]?.text !== "+") throw new Error(`${parts[index]?.text} is not known here`)
            const right = expression(part, scope)
            return typeof left === "number" ? left + Number(right) : textOf(left) + textOf(right)
          },
          expression(at(0), scope),
        )
      case "cast_expression": {
        const value = expression(at(1), scope)
        if (at(0).text === "[int]") return Number(value)
        if (at(0).text === "[string]") return textOf(value)
        throw new Error(`cast to ${at(0).text}`)
      }
      case "element_access": {
        const [holder, index] = [expression(at(0), scope), expression(at(2), scope)]
        if (!Array.isArray(holder)) throw new Thrown("Cannot index into a null array.")
        return holder[Number(index)] ?? null
      }
      case "member_access":
        return member(at(0), at(1).text, at(2).text, scope)
      case "invokation_expression":
        return invoke(at(0), at(1).text, at(2).text, parts[3], scope)
      default:
        throw new Error(`${node.type} is not known here: ${node.text}`)
    }
  }

  const compared = (left: Value, operator: string, rightNode: Node, scope: Scope): Value => {
    const right = expression(rightNode, scope)
    switch (operator) {
      case "-eq":
        return compare(left, right) === 0
      case "-ne":
        return compare(left, right) !== 0
      case "-lt":
        return compare(left, right) < 0
      case "-le":
        return compare(left, right) <= 0
      case "-gt":
        return compare(left, right) > 0
      case "-join":
        return listOf(left).map(textOf).join(textOf(right))
      case "-match": {
        const matches = new RegExp(textOf(right), "i").exec(textOf(left))
        if (matches !== null) scope.variables.set("matches", [...matches])
        return matches !== null
      }
      default:
        throw new Error(`${operator} is not known here`)
    }
  }

  const variable = (name: string, scope: Scope): Value =>
    name === "true" ? true : name === "false" ? false : name === "null" ? null : lookUp(scope, name)

  const typeName = (node: Node): string | null => {
    const type = core(node)
    return type.type === "type_literal" ? type.text.slice(1, -1).replace(/^System\./, "") : null
  }

  const member = (holder: Node, operator: string, name: string, scope: Scope): Value => {
    const type = operator === "::" ? typeName(holder) : null
    if (type !== null) return { staticOf: `${type}::${name}`.toLowerCase() }
    const value = expression(holder, scope)
    if (Array.isArray(value) && name === "Count") return value.length
    if (typeof value !== "object" || value === null) return null
    const key = keyIn(value, name)
    return key === undefined ? null : (Reflect.get(value, key) ?? null)
  }

  const invoke = (holder: Node, operator: string, name: string, given: Node | undefined, scope: Scope): Value => {
    const args = given === undefined ? [] : argumentsOf(given, scope)
    const type = operator === "::" ? typeName(holder) : null
    const value = type === null ? expression(holder, scope) : null
    const place =
      type !== null
        ? `${type}::${name}`.toLowerCase()
        : typeof value === "object" && value !== null && "staticOf" in value
          ? `${textOf(value.staticOf)}.${name}`.toLowerCase()
          : null
    if (place === "console::out.writeline") {
      out += `${textOf(args[0])}\r\n`
      return null
    }
    if (place !== null) {
      const found = Object.hasOwn(statics, place) ? statics[place] : undefined
      if (found === undefined) throw new Thrown(`Method invocation failed: ${place} does not exist.`)
      return found(...args)
    }
    if (typeof value !== "object" || value === null)
      throw new Thrown("You cannot call a method on a null-valued expression.")
    const key = keyIn(value, name)
    const method: unknown = key === undefined ? undefined : Reflect.get(value, key)
    if (typeof method !== "function") throw new Thrown(`Method invocation failed: no method named '${name}'.`)
    try {
      return method.apply(value, args)
    } catch (error) {
      if (error instanceof KilledPowerShell) throw error
      const words = error instanceof Error ? error.message : String(error)
      throw new Thrown(`Exception calling "${name}" with "${args.length}" argument(s): "${words}"`)
    }
  }

  const argumentsOf = (list: Node, scope: Scope): Value[] => {
    const inner = kids(list).filter(({ type }) => type !== "(" && type !== ")" && type !== ",")
    return inner.flatMap((one) =>
      one.type === "argument_expression_list" || core(one).type === "argument_expression_list"
        ? kids(core(one).type === "argument_expression_list" ? core(one) : one)
            .filter(({ type }) => type !== ",")
            .map((part) => expression(part, scope))
        : [expression(one, scope)],
    )
  }

  return {
    run(root: Node, input: readonly string[]) {
      const scope = child(null)
      scope.variables.set("input", [...input])
      const left = statement(root, scope)
      for (const value of left) out += `${textOf(value)}\r\n`
    },
    printed: () => out,
  }
}

/** Parameters that take no value. */
const switches = new Set(["compress", "asplaintext", "force", "exportable", "deletekey"])
