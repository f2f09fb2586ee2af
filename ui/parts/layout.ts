/** The frame around every page: document head, side bar, page header, notices, and the bare variant for sign-in. */
import { LiveStatus } from "../islands/live-status.island"
import { type Theme, ThemeSwitch } from "../islands/theme-switch.island"
import { icon } from "./icon"
import { island } from "./island"
import { html, type Markup } from "./markup"
import { isActive, type NavigationCounts, navigation } from "./navigation"
import { type Notice, noticeBar } from "./notices"

export type Role = "admin" | "operator" | "viewer"

/** What every page gets besides its own data. */
export interface Frame {
  /** URLs of the hashed style sheet and of the loader script. */
  readonly assets: { readonly css: string; readonly loader: string }
  /** Path and query of the request; marks the active entry and is where forms of the frame return to. */
  readonly url: string
  readonly theme: Theme
  /** Who is signed in; null with authentication off. */
  readonly actor: { readonly name: string; readonly role: Role } | null
  readonly version: string
  readonly counts: NavigationCounts
  /** The inventory is the demo's. */
  readonly demo: boolean
  readonly notice: Notice | null
  readonly now: Date
}

/** With authentication off everybody may work, but nobody is an administrator. */
export const mayWork = ({ actor }: Frame): boolean => actor === null || actor.role !== "viewer"
export const isAdmin = ({ actor }: Frame): boolean => actor?.role === "admin"

interface PageHead {
  /** The document's title and, without a `heading`, the h1. */
  readonly title: string
  readonly heading?: Markup
  readonly subtitle?: Markup
  readonly actions?: Markup
  /** The list this page belongs to. */
  readonly up?: { readonly label: string; readonly href: string }
  /** Makes the page keep itself current; the interval is for where events do not reach it. */
  readonly live?: { readonly intervalSeconds: number }
}

const mark = html`<svg class="product-mark" viewBox="0 0 32 32" width="28" height="28" aria-hidden="true" focusable="false">
  <path class="mark-shield" d="M16 2.5 27.5 7v8.2c0 7-4.7 12-11.5 14.3C9.2 27.2 4.5 22.2 4.5 15.2V7z" />
  <path class="mark-check" d="M10.5 16.2l3.9 3.9 7.4-8.4" />
</svg>`

const head = (frame: Pick<Frame, "assets">, title: string): Markup => html`<head>
  <meta charset="utf-8" />
  <title>${title === "certctl" ? title : `${title} · certctl`}</title>
  <meta name="viewport" content="width=device-width, initial-scale=1" />
  <meta name="color-scheme" content="light dark" />
  <meta name="robots" content="noindex" />
  <link rel="icon" type="image/svg+xml" href=${favicon} />
  <link rel="stylesheet" href=${frame.assets.css} />
  <script type="module" src=${frame.assets.loader}></script>
</head>`

const favicon = `data:image/svg+xml,${encodeURIComponent(
  '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 32 32"><path fill="#0f766e" d="M16 1 28.5 6v9c0 7.5-5 13-12.5 15.5C8.5 28 3.5 22.5 3.5 15V6z"/><path fill="none" stroke="#fff" stroke-width="3" stroke-linecap="round" stroke-linejoin="round" d="M10 16.2l4.2 4.2 8-9"/></svg>',
)}`

const sideBar = (frame: Frame): Markup => {
  const path = frame.url.split("?")[0] ?? "/"
  return html`<nav class="side" id="menu" aria-label="Main">
    <div class="side-head"><a class="product" href="/">${mark}<span>certctl</span></a>
      <a class="side-close" href="#main" aria-label="Close menu">${icon("close")}</a></div>
    <div class="side-entries" data-live="navigation">${navigation.map(
      (group) =>
        html`<div class="side-group"><p>${group.label}</p><ul>${group.entries
          .filter((entry) => !entry.adminOnly || isAdmin(frame))
          .map((entry) => {
            const count = entry.count === undefined ? 0 : frame.counts[entry.count.of]
            return html`<li><a href=${entry.path} aria-current=${isActive(entry, path) ? "page" : undefined}>${icon(entry.icon)}<span>${entry.label}</span>${
              count === 0
                ? null
                : html`<span class="side-count">${count}<span class="visually-hidden"> ${entry.count?.meaning}</span></span>`
            }</a></li>`
          })}</ul></div>`,
    )}</div>
    <div class="side-foot">
      ${island("theme-switch", ThemeSwitch, { theme: frame.theme, back: frame.url })}
      ${
        frame.actor === null
          ? html`<p class="side-actor"><b>Not signed in</b><span>authentication is off</span></p>`
          : html`<form method="post" action="/logout" class="side-actor"><p><b>${frame.actor.name}</b><span>${frame.actor.role}</span></p>
              <button class="side-signout" title="Sign out" aria-label="Sign out">${icon("signout")}</button></form>`
      }
      <p class="side-version"><span>certctl ${frame.version}</span><button type="button" class="link needs-script" data-dialog="shortcuts">Shortcuts</button></p>
    </div>
  </nav>
  <a class="side-shade" href="#main" tabindex="-1" aria-hidden="true"></a>`
}

const shortcuts: readonly (readonly [keys: readonly string[], does: string])[] = [
  [["/"], "Search"],
  [["g", "d"], "Dashboard"],
  [["g", "c"], "Certificates"],
  [["g", "a"], "Agents"],
  [["g", "j"], "Jobs"],
  [["g", "t"], "Audit trail"],
  [["n"], "New, on pages that can make one"],
  [["j"], "Next row"],
  [["k"], "Previous row"],
  [["x"], "Tick the row"],
  [["Enter"], "Open the row"],
  [["r"], "Reload"],
  [["?"], "This sheet"],
]

const shortcutSheet: Markup = html`<dialog id="shortcuts" aria-labelledby="shortcuts-title">
  <header class="dialog-head"><h2 id="shortcuts-title">Keyboard shortcuts</h2>
    <button type="button" class="button quiet square" data-close aria-label="Close">${icon("close")}</button></header>
  <dl class="keys">${shortcuts.map(
    ([keys, does]) => html`<div><dt>${keys.map((key) => html`<kbd>${key}</kbd>`)}</dt><dd>${does}</dd></div>`,
  )}</dl>
</dialog>`

const topBar = (frame: Frame, page: PageHead): Markup => html`<header class="top">
  <a class="top-menu" href="#menu">${icon("menu")}<span>Menu</span></a>
  <a class="top-product" href="/" aria-label="certctl, dashboard">${mark}</a>
  <form class="top-search" role="search" aria-label="Whole inventory" method="get" action="/search">
    ${icon("search")}
    <label class="visually-hidden" for="top-search">Search everything</label>
    <input id="top-search" name="q" type="search" maxlength="255" placeholder="Search name, id, serial or fingerprint" autocomplete="off" />
    <kbd class="needs-script" aria-hidden="true">/</kbd>
  </form>
  ${frame.demo ? html`<p class="demo-ribbon" title="This inventory is a demonstration, started with --demo.">Demo data</p>` : null}
  ${page.live ? island("live-status", LiveStatus, { renderedAt: frame.now.toISOString(), intervalSeconds: page.live.intervalSeconds }) : null}
</header>`

/** A page inside the frame. `body` is rendered in the main column, inside the live region when the page is live. */
export const layout = (
  frame: Frame,
  page: PageHead,
  body: Markup,
): Markup => html`<html lang="en" data-theme=${frame.theme}>
  ${head(frame, page.title)}
  <body>
    <a class="skip" href="#main">Skip to content</a>
    ${sideBar(frame)}
    <div class="column">
      ${topBar(frame, page)}
      ${frame.actor === null ? html`<aside class="ribbon" aria-label="Authentication">Authentication is off: everybody who reaches this address can work with it.</aside>` : null}
      <main id="main" tabindex="-1">
        ${page.up ? html`<p class="up"><a href=${page.up.href}>${icon("back")}${page.up.label}</a></p>` : null}
        <header class="page-head">
          <div class="page-title"><h1>${page.heading ?? page.title}</h1>${page.subtitle ? html`<p class="subtitle" data-live="subtitle">${page.subtitle}</p>` : null}</div>
          ${page.actions ? html`<div class="page-actions" data-live="actions">${page.actions}</div>` : null}
        </header>
        ${noticeBar(frame.notice)}
        ${body}
      </main>
    </div>
    ${shortcutSheet}
  </body>
</html>`

/** A region that live updates replace. Forms with typed text belong outside. */
export const live = (name: string, body: Markup): Markup =>
  html`<div class="live-region" data-live=${name}>${body}</div>`

/** A page without the frame: sign-in, and errors before anybody is known. */
export const bareLayout = (frame: Pick<Frame, "assets" | "theme">, title: string, body: Markup): Markup =>
  html`<html lang="en" data-theme=${frame.theme}>
    ${head(frame, title)}
    <body class="bare"><main id="main">${mark}${body}</main></body>
  </html>`
