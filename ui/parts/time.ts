/**
 * Times in words. Relative text for reading, absolute UTC for the tooltip; both for server and browser, so that an
 * island's first render equals the server's. Everything is UTC: certificates, logs and audit rows are.
 */
import { html, type Markup } from "./markup"

const MINUTE = 60_000
const HOUR = 60 * MINUTE
const DAY = 24 * HOUR

const months = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"]
const two = (n: number) => String(n).padStart(2, "0")
const counted = (n: number, unit: string) => `${n} ${unit}${n === 1 ? "" : "s"}`

/** A length of time in its largest whole unit: "45 s", "12 min", "3 h", "23 days", "7 months", "2 years". */
export const durationText = (milliseconds: number): string => {
  const length = Math.abs(milliseconds)
  if (length < MINUTE) return `${Math.floor(length / 1000)} s`
  if (length < HOUR) return `${Math.floor(length / MINUTE)} min`
  if (length < 2 * DAY) return `${Math.floor(length / HOUR)} h`
  if (length < 120 * DAY) return counted(Math.floor(length / DAY), "day")
  if (length < 730 * DAY) return counted(Math.floor(length / (30.44 * DAY)), "month")
  return counted(Math.floor(length / (365.25 * DAY)), "year")
}

/** "3 h ago", "in 23 days", "just now". */
export const relativeText = (at: Date, now: Date): string => {
  const ahead = at.getTime() - now.getTime()
  if (Math.abs(ahead) < 5000) return "just now"
  return ahead < 0 ? `${durationText(ahead)} ago` : `in ${durationText(ahead)}`
}

/** "12 Jan 2026"; without the year when it is this year's. */
export const dateText = (at: Date, now?: Date): string => {
  const day = `${at.getUTCDate()} ${months[at.getUTCMonth()]}`
  return now !== undefined && now.getUTCFullYear() === at.getUTCFullYear() ? day : `${day} ${at.getUTCFullYear()}`
}

/** "12 Jan 2026 14:03:09 UTC". */
export const absoluteText = (at: Date): string =>
  `${dateText(at)} ${two(at.getUTCHours())}:${two(at.getUTCMinutes())}:${two(at.getUTCSeconds())} UTC`

/** Relative text that the browser keeps current, with the absolute time as tooltip; `absent` when there is none. */
export const timeAgo = (at: Date | null, now: Date, absent: Markup = "never"): Markup =>
  at === null
    ? html`<span class="muted">${absent}</span>`
    : html`<time datetime=${at.toISOString()} title=${absoluteText(at)} data-relative>${relativeText(at, now)}</time>`

/** A calendar date with the exact time as tooltip. */
export const dateOf = (at: Date, now?: Date): Markup =>
  html`<time datetime=${at.toISOString()} title=${absoluteText(at)}>${dateText(at, now)}</time>`

/** Whole days from now until `at`; negative when it is past. */
export const daysUntil = (at: Date, now: Date): number => Math.floor((at.getTime() - now.getTime()) / DAY)
