/** Counts the ticked rows of a table and offers to tick all or none. Without script the sentence alone remains. */
import { useEffect, useState } from "preact/hooks"
import { html } from "../parts/markup"

interface SelectionBarProps extends Record<string, string> {
  /** The form that the rows' check boxes belong to. */
  readonly formId: string
  /** One of the rows: "certificate". */
  readonly noun: string
}

export const SelectionBar = ({ formId, noun }: SelectionBarProps) => {
  const [count, setCount] = useState<number | null>(null)
  const boxes = () => [
    ...document.querySelectorAll<HTMLInputElement>(`input[type=checkbox][form="${CSS.escape(formId)}"]`),
  ]
  const recount = () => setCount(boxes().filter((box) => box.checked).length)
  useEffect(() => {
    const onChange = (event: Event) => {
      if (event.target instanceof HTMLInputElement && event.target.getAttribute("form") === formId) recount()
    }
    document.addEventListener("change", onChange)
    recount()
    return () => document.removeEventListener("change", onChange)
  }, [formId])
  const tick = (checked: boolean) => {
    for (const box of boxes()) box.checked = checked
    recount()
  }
  return html`<span class="selection">
    <b role="status">${count === null ? `Selected ${noun}s:` : `${count} ${noun}${count === 1 ? "" : "s"} selected`}</b>
    <button type="button" class="link needs-script" onClick=${() => tick(true)}>Select all on this page</button>
    <button type="button" class="link needs-script" onClick=${() => tick(false)}>Clear</button>
  </span>`
}
