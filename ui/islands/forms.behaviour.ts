/**
 * Conveniences of forms: a pressed button says that it works and cannot be pressed twice, filters apply when they
 * change, and an empty filter leaves no trace in the URL.
 */

const onSubmit = (event: SubmitEvent): void => {
  const form = event.target
  if (!(form instanceof HTMLFormElement) || event.defaultPrevented) return
  if (form.method === "get") {
    for (const control of form.elements) {
      if ((control instanceof HTMLInputElement || control instanceof HTMLSelectElement) && control.value === "")
        control.disabled = true
    }
    return
  }
  // The answer is a file and this page stays: its button is to be pressed again.
  if (form.hasAttribute("data-download")) {
    form.closest("dialog")?.close()
    return
  }
  const button = event.submitter
  // Disabled only after the browser has collected the form: a disabled button's own name and value are not sent.
  if (button instanceof HTMLButtonElement) {
    setTimeout(() => {
      button.disabled = true
      button.setAttribute("aria-busy", "true")
    })
  }
}

const onChange = (event: Event): void => {
  if (!(event.target instanceof HTMLSelectElement)) return
  const form = event.target.form
  if (form?.hasAttribute("data-autosubmit")) form.requestSubmit()
}

/** Back from another page by the browser's cache: controls must not stay disabled. */
const onPageShow = (event: PageTransitionEvent): void => {
  if (!event.persisted) return
  for (const control of document.querySelectorAll<HTMLInputElement | HTMLButtonElement>("form :disabled")) {
    control.disabled = false
    control.removeAttribute("aria-busy")
  }
}

export const startForms = (): void => {
  document.addEventListener("submit", onSubmit)
  document.addEventListener("change", onChange)
  addEventListener("pageshow", onPageShow)
}
