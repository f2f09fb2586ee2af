/** Opens a link's question as a dialog in place; Esc, the close button and a click beside it close it again. */

const open = (event: MouseEvent): void => {
  if (event.button !== 0 || event.ctrlKey || event.metaKey || event.shiftKey || !(event.target instanceof Element))
    return
  const opener = event.target.closest<HTMLElement>("[data-dialog]")
  if (opener !== null) {
    const dialog = document.getElementById(opener.dataset.dialog ?? "")
    if (!(dialog instanceof HTMLDialogElement)) return
    event.preventDefault()
    dialog.showModal()
    return
  }
  // The dialog has no padding of its own: a click on the element itself is a click on its backdrop.
  if (event.target instanceof HTMLDialogElement) event.target.close()
  else if (event.target.closest("[data-close]") !== null) event.target.closest("dialog")?.close()
}

export const startDialogs = (): void => {
  document.addEventListener("click", open)
}
