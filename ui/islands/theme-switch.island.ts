/** System, light or dark. An ordinary form without script; with it the page changes at once and the choice is stored behind. */
import { useState } from "preact/hooks"
import { type IconName, icon } from "../parts/icon"
import { html } from "../parts/markup"

export type Theme = "system" | "light" | "dark"

interface ThemeSwitchProps extends Record<string, string> {
  readonly theme: Theme
  /** The page to return to. */
  readonly back: string
}

const choices: readonly { value: Theme; label: string; icon: IconName }[] = [
  { value: "system", label: "System theme", icon: "system" },
  { value: "light", label: "Light theme", icon: "sun" },
  { value: "dark", label: "Dark theme", icon: "moon" },
]

export const ThemeSwitch = ({ theme, back }: ThemeSwitchProps) => {
  const [current, setCurrent] = useState(theme)
  const choose = (event: Event, value: Theme) => {
    event.preventDefault()
    setCurrent(value)
    document.documentElement.dataset.theme = value
    fetch("/preferences/theme", { method: "POST", body: new URLSearchParams({ theme: value, back }) }).catch(
      (error: unknown) => console.warn("the theme could not be stored", error),
    )
  }
  return html`<form class="theme-switch" method="post" action="/preferences/theme" aria-label="Theme">
    <input type="hidden" name="back" value=${back} />
    ${choices.map(
      ({ value, label, icon: name }) =>
        html`<button name="theme" value=${value} title=${label} aria-label=${label} aria-pressed=${value === current} onClick=${(event: Event) => choose(event, value)}>${icon(name)}</button>`,
    )}
  </form>`
}
