/** PowerShell's grammar for tests, as tree-sitter knows it. */
import { fileURLToPath } from "node:url"
import { Language, type Node, Parser, type Tree } from "web-tree-sitter"

let parser: Promise<Parser> | undefined

const openParser = async (): Promise<Parser> => {
  await Parser.init()
  const grammar = fileURLToPath(import.meta.resolve("tree-sitter-powershell/tree-sitter-powershell.wasm"))
  return new Parser().setLanguage(await Language.load(grammar))
}

/** Fails where the text is not PowerShell. */
export const parsePowerShell = async (text: string): Promise<Tree> => {
  parser ??= openParser()
  const tree = (await parser).parse(text)
  if (tree === null) throw new Error("the script could not be parsed")
  const wrong = tree.rootNode.hasError ? firstError(tree.rootNode) : null
  if (wrong !== null) throw new Error(`ParserError at line ${wrong.startPosition.row + 1}: ${wrong.text.slice(0, 80)}`)
  return tree
}

const firstError = (node: Node): Node => {
  if (node.isError || node.isMissing) return node
  const child = kids(node).find((one) => one.hasError || one.isError || one.isMissing)
  return child === undefined ? node : firstError(child)
}

/** Children that mean something. */
export const kids = (node: Node): Node[] =>
  node.children.filter((child): child is Node => child !== null && child.type !== "comment" && child.text.trim() !== "")

/** The grammar wraps every expression in a dozen levels of precedence: what stands inside them. */
export const core = (node: Node): Node => {
  const [only, ...more] = kids(node)
  return only !== undefined && more.length === 0 && node.isNamed && !braced.has(node.type) ? core(only) : node
}
const braced = new Set(["command_elements"])
