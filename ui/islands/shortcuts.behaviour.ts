/** Keyboard shortcuts; none while typing. The sheet that `?` opens is part of every page's frame. */

const places: Readonly<Record<string, string>> = { d: "/", c: "/certificates", a: "/agents", j: "/jobs", t: "/audit" }
/** How long `g` waits for its second key. */
const CHORD_MS = 1500

const isTyping = (target: EventTarget | null): boolean =>
  target instanceof HTMLElement && (target.isContentEditable || /^(INPUT|TEXTAREA|SELECT)$/.test(target.tagName))

const rowLinks = () => [...document.querySelectorAll<HTMLAnchorElement>("main a[data-row-link]")]

const moveRow = (step: 1 | -1): void => {
  const links = rowLinks()
  const at = links.findIndex((link) => link.closest("tr")?.contains(document.activeElement))
  links[at === -1 ? (step === 1 ? 0 : links.length - 1) : Math.min(Math.max(at + step, 0), links.length - 1)]?.focus()
}

const actions: Readonly<Record<string, () => void>> = {
  "/": () => document.querySelector<HTMLInputElement>("main input[type=search], .top-search input")?.focus(),
  "?": () => document.querySelector<HTMLDialogElement>("dialog#shortcuts")?.showModal(),
  n: () => document.querySelector<HTMLAnchorElement>("a[data-new]")?.click(),
  r: () => location.reload(),
  j: () => moveRow(1),
  k: () => moveRow(-1),
  x: () => document.activeElement?.closest("tr")?.querySelector<HTMLInputElement>("input[type=checkbox]")?.click(),
}

export const startShortcuts = (): void => {
  let chordUntil = 0
  document.addEventListener("keydown", (event) => {
    if (event.key === "Escape" && location.hash === "#menu") location.hash = "#main"
    if (
      event.ctrlKey ||
      event.metaKey ||
      event.altKey ||
      isTyping(event.target) ||
      document.querySelector("dialog[open]")
    )
      return
    const place = performance.now() < chordUntil ? places[event.key] : undefined
    chordUntil = event.key === "g" ? performance.now() + CHORD_MS : 0
    if (place !== undefined) {
      event.preventDefault()
      location.assign(place)
      return
    }
    const action = actions[event.key]
    if (action === undefined) return
    event.preventDefault()
    action()
  })
}
