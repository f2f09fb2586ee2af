/**
 * What was typed outlives an expired session: a form that was sent is remembered until the next page, and filled in again when
 * the visitor comes back to it from signing in. Only in this tab, and never a secret.
 */

const KEY = "certctl-unsent-form"
const SIGN_IN = "/login"
/** More than any form of the console holds. */
const MAX_LENGTH = 100_000

type Control = HTMLInputElement | HTMLSelectElement | HTMLTextAreaElement

interface Unsent {
  readonly action: string
  readonly typed: readonly { readonly name: string; readonly value: string; readonly checked: boolean | null }[]
}

const isTick = (control: Control): control is HTMLInputElement =>
  control instanceof HTMLInputElement && (control.type === "checkbox" || control.type === "radio")

const controlsOf = (form: HTMLFormElement): Control[] =>
  [...form.elements].filter(
    (control): control is Control =>
      (control instanceof HTMLTextAreaElement && !control.hasAttribute("data-secret")) ||
      control instanceof HTMLSelectElement ||
      (control instanceof HTMLInputElement && control.type !== "password" && control.type !== "hidden"),
  )

const onSubmit = ({ target, defaultPrevented }: SubmitEvent): void => {
  if (!(target instanceof HTMLFormElement) || target.method !== "post" || defaultPrevented) return
  const typed = controlsOf(target).map((control) => ({
    name: control.name,
    value: control.value,
    checked: isTick(control) ? control.checked : null,
  }))
  if (typed.length === 0) return
  const text = JSON.stringify({ action: target.action, typed } satisfies Unsent)
  if (text.length <= MAX_LENGTH) sessionStorage.setItem(KEY, text)
}

const fillIn = ({ action, typed }: Unsent): void => {
  const form = [...document.forms].find((one) => one.method === "post" && one.action === action)
  if (form === undefined) return
  const rest = [...typed]
  for (const control of controlsOf(form)) {
    // Ticks share a name and differ by value.
    const index = rest.findIndex(
      ({ name, value }) => name === control.name && (!isTick(control) || value === control.value),
    )
    const [was] = index === -1 ? [] : rest.splice(index, 1)
    if (was === undefined) continue
    if (isTick(control)) control.checked = was.checked === true
    else control.value = was.value
    if (!isTick(control) && was.value !== "") control.closest("details")?.setAttribute("open", "")
  }
}

export const startUnsentForms = (): void => {
  document.addEventListener("submit", onSubmit)
  if (location.pathname === SIGN_IN) return
  const text = sessionStorage.getItem(KEY)
  sessionStorage.removeItem(KEY)
  const isFromSignIn = URL.canParse(document.referrer) && new URL(document.referrer).pathname === SIGN_IN
  if (text !== null && isFromSignIn) fillIn(JSON.parse(text) as Unsent)
}
