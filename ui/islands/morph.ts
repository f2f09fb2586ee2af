/**
 * Brings a piece of the document up to date with a newly rendered one, node by node, so that focus, selections, typed
 * text, open disclosures and dialogs, scroll positions and running islands survive.
 */
import { mountIslands, unmountIsland } from "./mount"

const keyOf = (node: Node): string | null =>
  node instanceof Element ? node.id || node.getAttribute("data-key") || null : null

const alike = (a: Node, b: Node): boolean => a.nodeType === b.nodeType && a.nodeName === b.nodeName

/** Whether somebody has typed into or ticked this control: then it is theirs. */
const isTouched = (node: Element): boolean => {
  if (node === document.activeElement) return true
  if (node instanceof HTMLInputElement) return node.value !== node.defaultValue || node.checked !== node.defaultChecked
  if (node instanceof HTMLTextAreaElement) return node.value !== node.defaultValue
  if (node instanceof HTMLSelectElement)
    return [...node.options].some((option) => option.selected !== option.defaultSelected)
  return false
}

const keepsOpen = (node: Element, name: string): boolean =>
  name === "open" && (node instanceof HTMLDetailsElement || node instanceof HTMLDialogElement)

const morphAttributes = (current: Element, next: Element): void => {
  for (const { name } of [...current.attributes]) {
    if (!next.hasAttribute(name) && !keepsOpen(current, name)) current.removeAttribute(name)
  }
  for (const { name, value } of [...next.attributes]) {
    if (current.getAttribute(name) !== value && !keepsOpen(current, name)) current.setAttribute(name, value)
  }
}

const remove = (node: ChildNode): void => {
  if (node instanceof Element) {
    for (const island of node.querySelectorAll("[data-island]")) unmountIsland(island)
    unmountIsland(node)
  }
  node.remove()
}

const morphNode = (current: ChildNode, next: ChildNode): void => {
  if (!(current instanceof Element) || !(next instanceof Element)) {
    if (current.nodeValue !== next.nodeValue) current.nodeValue = next.nodeValue
    return
  }
  if (current.hasAttribute("data-island") || next.hasAttribute("data-island")) {
    // An island owns its inside; only other props make it a new one.
    const same = ["data-island", "data-props"].every((name) => current.getAttribute(name) === next.getAttribute(name))
    if (!same) {
      current.before(document.importNode(next, true))
      remove(current)
    }
    return
  }
  if (isTouched(current)) return
  morphAttributes(current, next)
  morphChildren(current, next)
}

const morphChildren = (current: Element, next: Element): void => {
  const keyed = new Map<string, ChildNode>()
  for (const child of current.childNodes) {
    const key = keyOf(child)
    if (key !== null) keyed.set(key, child)
  }
  let cursor: ChildNode | null = current.firstChild
  for (const wanted of [...next.childNodes]) {
    const key = keyOf(wanted)
    const byPlace: ChildNode | null = cursor !== null && keyOf(cursor) === null && alike(cursor, wanted) ? cursor : null
    const match: ChildNode | null = key === null ? byPlace : (keyed.get(key) ?? null)
    if (match === null || !alike(match, wanted)) {
      current.insertBefore(document.importNode(wanted, true), cursor)
      continue
    }
    if (key !== null) keyed.delete(key)
    if (match === cursor) cursor = cursor.nextSibling
    else current.insertBefore(match, cursor)
    morphNode(match, wanted)
  }
  while (cursor !== null) {
    const after: ChildNode | null = cursor.nextSibling
    remove(cursor)
    cursor = after
  }
}

/** Replaces every `[data-live]` region by its namesake in the newly fetched page. */
export const refreshRegions = (fresh: Document): void => {
  for (const region of document.querySelectorAll("[data-live]")) {
    const name = region.getAttribute("data-live") ?? ""
    const next = fresh.querySelector(`[data-live="${CSS.escape(name)}"]`)
    if (next === null || region.isEqualNode(next)) continue
    morphAttributes(region, next)
    morphChildren(region, next)
  }
  mountIslands(document)
}
