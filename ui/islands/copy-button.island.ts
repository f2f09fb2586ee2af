/** Copies an exact text: an id, a fingerprint, a command. Hidden where script does not run, as it could do nothing. */
import { useEffect, useState } from "preact/hooks"
import { icon } from "../parts/icon"
import { classes, html } from "../parts/markup"

interface CopyButtonProps extends Record<string, string | undefined> {
  readonly text: string
  /** What is copied: "serial number". */
  readonly what: string
  /** Words on the button; without them it is an icon. */
  readonly label?: string
}

export const CopyButton = ({ text, what, label }: CopyButtonProps) => {
  const [outcome, setOutcome] = useState<"ready" | "copied" | "refused">("ready")
  useEffect(() => {
    if (outcome === "ready") return
    const timer = setTimeout(() => setOutcome("ready"), 2000)
    return () => clearTimeout(timer)
  }, [outcome])
  const copy = () =>
    navigator.clipboard.writeText(text).then(
      () => setOutcome("copied"),
      () => setOutcome("refused"),
    )
  const words = { ready: `Copy ${what}`, copied: "Copied", refused: "The browser refused to copy" }[outcome]
  return html`<button type="button" class=${classes("copy needs-script", label && "button", outcome)} title=${words} aria-label=${words} onClick=${copy}>
    ${icon(outcome === "copied" ? "check" : "copy")}${label ? html`<span>${outcome === "copied" ? "Copied" : label}</span>` : null}
    <span class="visually-hidden" role="status">${outcome === "ready" ? "" : words}</span>
  </button>`
}
