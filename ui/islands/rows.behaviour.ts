/** A click anywhere on a row follows the row's own link: an extra, the link itself stays the way in. */

const onClick = (event: MouseEvent): void => {
  if (event.defaultPrevented || event.button !== 0 || !(event.target instanceof Element)) return
  if (event.target.closest("a, button, input, label, select, summary, details, dialog, form") !== null) return
  const link = event.target.closest("tr")?.querySelector<HTMLAnchorElement>("a[data-row-link]")
  // Marking text in a row is not a wish to leave.
  if (!link || getSelection()?.isCollapsed === false) return
  if (event.ctrlKey || event.metaKey) window.open(link.href, "_blank", "noopener")
  else link.click()
}

export const startRows = (): void => {
  document.addEventListener("click", onClick)
}
