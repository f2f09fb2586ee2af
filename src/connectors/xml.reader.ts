/**
 * Reads the XML that SOAP services answer with: elements, attributes and text, names without their prefixes. No document type,
 * no entities of its own, no processing instructions: SOAP 1.2 forbids them, and they are what makes XML dangerous to read.
 */
import { AppError } from "../errors"

export interface XmlElement {
  /** Without prefix. */
  readonly name: string
  /** Names without prefix; declarations of namespaces are left out. */
  readonly attributes: ReadonlyMap<string, string>
  readonly children: readonly XmlElement[]
  /** Text of its own, not of its children. */
  readonly text: string
}

const deepest = 64
const predefined: Readonly<Record<string, string>> = { lt: "<", gt: ">", amp: "&", quot: '"', apos: "'" }

const refuse = (what: string): never => {
  throw new AppError("upstream", `XML: ${what}`)
}

const plain = (text: string): string => {
  if (text.includes("<")) refuse("an attribute has a <")
  return text.replace(/&([^;&]{0,12};?)/g, (_all, name: string) => {
    const code = /^#(?:x([0-9a-fA-F]{1,6})|([0-9]{1,7}));$/.exec(name)
    const point = code === null ? null : Number.parseInt(code[1] ?? code[2] ?? "", code[1] === undefined ? 10 : 16)
    if (point !== null && point > 0 && point <= 0x10ffff) return String.fromCodePoint(point)
    return predefined[name.slice(0, -1)] ?? refuse("an unknown entity")
  })
}

const localName = (name: string): string => name.slice(name.indexOf(":") + 1)

/** One tag, comment, CDATA section or run of text. Sticky: what does not match is an error, never skipped. */
const token =
  /<!--(?:(?!--)[\s\S])*-->|<!\[CDATA\[([\s\S]*?)\]\]>|<\/([A-Za-z_][\w.:-]*)\s*>|<([A-Za-z_][\w.:-]*)((?:\s+[A-Za-z_][\w.:-]*\s*=\s*(?:"[^"<]*"|'[^'<]*'))*)\s*(\/?)>|([^<]+)/y
const attributePattern = /([A-Za-z_][\w.:-]*)\s*=\s*(?:"([^"]*)"|'([^']*)')/g

interface Open {
  readonly tag: string
  readonly attributes: Map<string, string>
  readonly children: XmlElement[]
  text: string
}

/** The document's element. Fails with `upstream` on everything that is not well formed or not known here. */
export const readXml = (document: string): XmlElement => {
  const text = document.replace(/^\ufeff?(<\?xml\s[^?<>]*\?>)?/, "")
  const open: Open[] = []
  let root: XmlElement | null = null
  const close = (element: Open) => {
    const { tag, attributes, children, text: own } = element
    const done = { name: localName(tag), attributes, children, text: own }
    const parent = open.at(-1)
    if (parent !== undefined) parent.children.push(done)
    else if (root === null) root = done
    else refuse("there is more than one document element")
  }
  for (let at = 0; at < text.length; at = token.lastIndex) {
    token.lastIndex = at
    const match = token.exec(text)
    if (match === null) return refuse(`what stands at character ${at} is not known here`)
    const [, section, ending, beginning, attributes = "", isEmpty, characters] = match
    if (ending !== undefined) {
      const element = open.pop()
      if (element?.tag !== ending) return refuse(`</${ending}> closes nothing`)
      close(element)
    } else if (beginning !== undefined) {
      if (open.length >= deepest) refuse("it is nested too deeply")
      const element: Open = { tag: beginning, attributes: attributesIn(attributes), children: [], text: "" }
      if (isEmpty === "/") close(element)
      else open.push(element)
    } else {
      const added = section ?? (characters === undefined ? "" : plain(characters))
      const parent = open.at(-1)
      if (parent !== undefined) parent.text += added
      else if (added.trim() !== "") refuse("there is text outside of the document element")
    }
  }
  if (open.length > 0 || root === null) return refuse("the document is not complete")
  return root
}

const attributesIn = (text: string): Map<string, string> => {
  const found = new Map<string, string>()
  for (const [, name = "", double, single] of text.matchAll(attributePattern)) {
    if (name === "xmlns" || name.startsWith("xmlns:")) continue
    found.set(localName(name), plain(double ?? single ?? ""))
  }
  return found
}

/** Every element of this name, in the order of the document. */
export const xmlElements = (root: XmlElement, name: string): XmlElement[] => [
  ...(root.name === name ? [root] : []),
  ...root.children.flatMap((child) => xmlElements(child, name)),
]

/** For text and attribute values. Fails with `validation` on characters that XML cannot hold. */
export const escapeXml = (text: string): string => {
  // biome-ignore lint/suspicious/noControlCharactersInRegex: XML 1.0 section 2.2 names them
  if (/[\u0000-\u0008\u000b\u000c\u000e-\u001f\ufffe\uffff]|\p{Surrogate}/u.test(text)) {
    throw new AppError("validation", "a text holds characters that XML does not know")
  }
  const names: Readonly<Record<string, string>> = {
    "<": "&lt;",
    ">": "&gt;",
    "&": "&amp;",
    '"': "&quot;",
    "'": "&apos;",
  }
  return text.replace(/[<>&"']/g, (character) => names[character] ?? "")
}
