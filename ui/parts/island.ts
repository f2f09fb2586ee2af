/**
 * Server half of an island: the component's own markup, wrapped so that the loader can find and hydrate it. Without
 * script the markup stays as it is, so it must be useful (or carry the class `needs-script`).
 */
import { type FunctionComponent, h } from "preact"
import type { IslandName } from "../islands/registry"
import { html, type Markup } from "./markup"

/** What survives JSON: an island gets no Date and no function. */
export type IslandProps = { readonly [key: string]: string | number | boolean | null | readonly string[] | undefined }

export const island = <P extends IslandProps>(name: IslandName, component: (props: P) => Markup, props: P): Markup =>
  html`<span data-island=${name} data-props=${JSON.stringify(props)}>${h(component as FunctionComponent<P>, props)}</span>`
