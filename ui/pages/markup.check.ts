/**
 * A strict reader of the HTML the console renders. Browsers repair almost anything in silence; this reports what they
 * would repair, what the content security policy would block and what a screen reader would miss.
 */

interface HtmlElement {
  readonly name: string
  readonly attributes: ReadonlyMap<string, string>
  readonly parent: HtmlElement | null
  readonly children: HtmlElement[]
  text: string
}

const voidElements = new Set([
  "area",
  "base",
  "br",
  "col",
  "embed",
  "hr",
  "img",
  "input",
  "link",
  "meta",
  "source",
  "track",
  "wbr",
])
const blocks = new Set([
  "div",
  "p",
  "ul",
  "ol",
  "dl",
  "table",
  "section",
  "header",
  "footer",
  "form",
  "fieldset",
  "h1",
  "h2",
  "h3",
  "pre",
  "nav",
  "main",
  "figure",
  "details",
  "dialog",
])
const interactive = new Set(["a", "button", "input", "select", "textarea", "summary", "label"])
/** Elements whose parent is fixed; a browser moves or drops them elsewhere. */
const parents: Readonly<Record<string, readonly string[]>> = {
  li: ["ul", "ol"],
  tr: ["thead", "tbody"],
  th: ["tr"],
  td: ["tr"],
  thead: ["table"],
  tbody: ["table"],
  caption: ["table"],
  option: ["select", "datalist"],
  legend: ["fieldset"],
  summary: ["details"],
  figcaption: ["figure"],
}

const tag = /<(\/?)([a-zA-Z][\w-]*)((?:\s+[\w:-]+(?:="[^"]*")?)*)\s*(\/?)>/y
const attribute = /([\w:-]+)(?:="([^"]*)")?/g

interface ReadDocument {
  readonly elements: readonly HtmlElement[]
  readonly problems: string[]
}

const readHtml = (html: string): ReadDocument => {
  const problems: string[] = []
  const elements: HtmlElement[] = []
  const doctype = "<!doctype html>"
  if (!html.startsWith(doctype)) problems.push("does not begin with the doctype")
  let open = null as HtmlElement | null
  let at = html.startsWith(doctype) ? doctype.length : 0
  while (at < html.length) {
    if (html[at] !== "<") {
      const next = html.indexOf("<", at)
      const text = html.slice(at, next === -1 ? html.length : next)
      const leak = /\[object \w+\]|\bundefined\b|\bNaN\b|Invalid Date/.exec(text)
      if (leak) problems.push(`the text says "${leak[0]}"`)
      if (open === null && text.trim() !== "") problems.push(`text outside the document: ${text}`)
      for (let element: HtmlElement | null = open; element !== null; element = element.parent) element.text += text
      at += text.length
      continue
    }
    tag.lastIndex = at
    const match = tag.exec(html)
    if (match === null) {
      problems.push(`not a tag: ${html.slice(at, at + 60)}`)
      return { elements, problems }
    }
    at = tag.lastIndex
    const [, closing, name = "", written = "", selfClosing] = match
    if (closing === "/") {
      if (open?.name !== name) problems.push(`</${name}> closes <${open?.name ?? "nothing"}>`)
      open = open?.parent ?? null
      continue
    }
    const attributes = new Map<string, string>()
    for (const [, key = "", value = ""] of written.matchAll(attribute)) {
      if (attributes.has(key)) problems.push(`<${name}> has ${key} twice`)
      attributes.set(key, value)
    }
    const element: HtmlElement = { name, attributes, parent: open, children: [], text: "" }
    open?.children.push(element)
    elements.push(element)
    if (voidElements.has(name)) continue
    if (selfClosing === "/") problems.push(`<${name}/> is not a void element`)
    open = element
  }
  if (open !== null) problems.push(`<${open.name}> is never closed`)
  return { elements, problems }
}

const within = (element: HtmlElement, names: ReadonlySet<string>): HtmlElement | null => {
  for (let outer = element.parent; outer !== null; outer = outer.parent) if (names.has(outer.name)) return outer
  return null
}

const nestingProblems = (element: HtmlElement): string[] => {
  const { name, parent } = element
  const problems: string[] = []
  const allowed = parents[name]
  if (allowed !== undefined && !allowed.includes(parent?.name ?? ""))
    problems.push(`<${name}> inside <${parent?.name}>`)
  if ((name === "ul" || name === "ol") && element.children.some((child) => child.name !== "li"))
    problems.push(`<${name}> holds something else than <li>`)
  if (blocks.has(name) && within(element, new Set(["p"]))) problems.push(`<${name}> inside <p>`)
  if (name === "form" && within(element, new Set(["form"]))) problems.push("<form> inside <form>")
  if (interactive.has(name) && element.attributes.get("type") !== "hidden" && within(element, new Set(["a", "button"])))
    problems.push(`<${name}> inside a link or button`)
  return problems
}

const attributeProblems = ({ name, attributes }: HtmlElement, ids: ReadonlySet<string>): string[] => {
  const problems: string[] = []
  for (const [key, value] of attributes) {
    if (key === "style") problems.push(`<${name}> has a style attribute`)
    if (/^on/i.test(key)) problems.push(`<${name}> has an inline handler ${key}`)
    if (/\[object|\bundefined\b|\bNaN\b/.test(value) && key !== "data-props")
      problems.push(`<${name} ${key}="${value}">`)
    if (/^(aria-labelledby|aria-describedby|aria-controls|for|list|form|data-dialog)$/.test(key)) {
      for (const id of value.split(" "))
        if (!ids.has(id)) problems.push(`<${name} ${key}> names ${id}, which is not on the page`)
    }
    if (key === "href" && value.startsWith("#") && !ids.has(value.slice(1)))
      problems.push(`a link leads to ${value}, which is not on the page`)
    if (key === "href" && /^\s*javascript:/i.test(value)) problems.push("a javascript: link")
  }
  if (name === "script" && !attributes.has("src")) problems.push("an inline script")
  if (name === "form" && !/^(get|post)$/.test(attributes.get("method") ?? "")) problems.push("a form without method")
  return problems
}

const named = (element: HtmlElement): boolean =>
  element.attributes.has("aria-label") || element.attributes.has("aria-labelledby")

const labelProblems = (element: HtmlElement, labelled: ReadonlySet<string>): string[] => {
  const { name, attributes } = element
  const isControl =
    name === "select" || name === "textarea" || (name === "input" && attributes.get("type") !== "hidden")
  if (isControl && !named(element) && !labelled.has(attributes.get("id") ?? ""))
    return [`<${name} name="${attributes.get("name")}"> has no label`]
  if (
    (name === "a" || name === "button") &&
    element.text.trim() === "" &&
    !named(element) &&
    !attributes.has("aria-hidden")
  )
    return [`an unnamed <${name}>`]
  return []
}

/** Everything that is wrong with a rendered page; empty when nothing is. */
export const problemsOf = (html: string): string[] => {
  const { elements, problems } = readHtml(html)
  const ids = new Set<string>()
  for (const { attributes } of elements) {
    const id = attributes.get("id")
    if (id === undefined) continue
    if (ids.has(id)) problems.push(`the id ${id} stands twice`)
    ids.add(id)
  }
  const labelled = new Set(
    elements.filter(({ name }) => name === "label").map(({ attributes }) => attributes.get("for") ?? ""),
  )
  for (const element of elements)
    problems.push(...nestingProblems(element), ...attributeProblems(element, ids), ...labelProblems(element, labelled))
  const headings = elements.filter(({ name }) => name === "h1").length
  if (headings !== 1) problems.push(`${headings} h1 headings`)
  return problems
}
