/**
 * htm bound to preact's `h`: the one template tag of the console, used on the server and inside islands alike.
 * htm checks neither props nor closing tags, so parts are called as typed functions (`${badge({ status })}`)
 * and pages.test.ts parses every page strictly.
 */
import htm from "htm"
import { type ComponentChildren, h, type VNode } from "preact"

export type Markup = ComponentChildren

export const html: (strings: TemplateStringsArray, ...values: unknown[]) => VNode | VNode[] = htm.bind(
  h as (type: unknown, props: Record<string, unknown>, ...children: unknown[]) => VNode,
)

/** Joins class names and leaves out what is empty or false. */
export const classes = (...names: readonly (string | false | null | undefined)[]): string =>
  names.filter((name) => typeof name === "string" && name !== "").join(" ")

/** A host name that may break after its dots, and only there when that is enough. */
export const breakable = (name: string): Markup =>
  name.split(".").map((label, index) => (index === 0 ? label : html`.<wbr />${label}`))
