/** Boxes of a page: panels with a heading, fact lists, empty states, tabs. */

import { type IconName, icon } from "./icon"
import { classes, html, type Markup } from "./markup"

interface PanelProps {
  readonly title: string
  readonly id?: string
  readonly actions?: Markup
  readonly className?: string
  /** The body fills the box to its edges (tables). */
  readonly flush?: boolean
}

export const panel = ({ title, id, actions, className, flush }: PanelProps, body: Markup): Markup => {
  const headingId = `${id ?? title.toLowerCase().replace(/[^a-z0-9]+/g, "-")}-heading`
  return html`<section class=${classes("panel", flush && "flush", className)} id=${id} aria-labelledby=${headingId}>
    <header class="panel-head"><h2 id=${headingId}>${title}</h2>${actions ? html`<div class="panel-actions">${actions}</div>` : null}</header>
    <div class="panel-body">${body}</div>
  </section>`
}

/** Label and value pairs. A null value is left out. */
export const facts = (pairs: readonly (readonly [label: string, value: Markup])[]): Markup =>
  html`<dl class="facts">${pairs
    .filter(([, value]) => value !== null)
    .map(([label, value]) => html`<div><dt>${label}</dt><dd>${value}</dd></div>`)}</dl>`

interface EmptyProps {
  readonly icon: IconName
  readonly title: string
  readonly text: string
  readonly action?: Markup
}

/** One sentence that says why there is nothing and what to do. */
export const empty = (props: EmptyProps): Markup => html`<div class="empty">
  ${icon(props.icon)}
  <p class="empty-title">${props.title}</p>
  <p>${props.text}</p>
  ${props.action ? html`<p class="empty-action">${props.action}</p>` : null}
</div>`

export const tabs = (
  label: string,
  entries: readonly { label: string; href: string; current: boolean; count?: number }[],
): Markup =>
  html`<nav class="tabs" aria-label=${label}><ul>${entries.map(
    (entry) =>
      html`<li><a href=${entry.href} aria-current=${entry.current ? "page" : undefined}>${entry.label}${
        entry.count === undefined ? null : html`<span class="tab-count">${entry.count}</span>`
      }</a></li>`,
  )}</ul></nav>`
