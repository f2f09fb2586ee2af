/**
 * Keeps "3 h ago" true while the page is open. One timer for all of them: as islands, a page of two hundred rows would
 * hydrate two hundred components for one word each.
 */
import { relativeText } from "../parts/time"

const REFRESH_MS = 20_000

const refresh = (): void => {
  const now = new Date()
  for (const element of document.querySelectorAll<HTMLTimeElement>("time[data-relative]")) {
    const text = relativeText(new Date(element.dateTime), now)
    if (element.textContent !== text) element.textContent = text
  }
}

export const startRelativeTimes = (): void => {
  setInterval(() => {
    if (!document.hidden) refresh()
  }, REFRESH_MS)
}
