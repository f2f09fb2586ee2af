/** What specimens of pages have in common: the moment, the frame, lists and the people who look. */
import type { Question } from "../../parts/confirm"
import type { Frame } from "../../parts/layout"
import { listState } from "../../parts/list-state"
import type { Markup } from "../../parts/markup"

/** Page name to its markup. */
export type Samples = Readonly<Record<string, () => Markup>>

export const now = new Date("2026-03-12T09:30:00Z")
export const MINUTE = 60_000
export const DAY = 86_400_000
export const ago = (milliseconds: number) => new Date(now.getTime() - milliseconds)
export const ahead = (days: number) => new Date(now.getTime() + days * DAY)

export const sampleFrame = (url: string, changes: Partial<Frame> = {}): Frame => ({
  assets: { css: "/assets/console.css", loader: "/assets/loader.js" },
  url,
  theme: "system",
  actor: { name: "ops-lead", role: "admin" },
  version: "0.1.0",
  counts: { awaitingApproval: 2, deadNotifications: 1 },
  demo: true,
  notice: null,
  now,
  ...changes,
})

export const reference = (commonName: string, days: number) => ({
  id: `mc-${commonName.split(".")[0]}`,
  commonName,
  expiresAt: ahead(days),
})

export const at = (url: string, changes?: Partial<Frame>): Frame => sampleFrame(url, changes)
export const list = (url: string) => {
  const parsed = new URL(url, "https://certctl.example")
  return listState(parsed.pathname, parsed.searchParams)
}
export const paging = { page: 2, pageSize: 50, total: 1284 }
export const noRows = { page: 1, pageSize: 50, total: 0 }
export const noCounts = { awaitingApproval: 0, deadNotifications: 0 }
export const viewer: Partial<Frame> = { actor: { name: "auditor", role: "viewer" }, demo: false }
export const anonymous: Partial<Frame> = { actor: null, demo: false, counts: noCounts }
export const option = (value: string, label: string) => ({ value, label })

/** Longer than any column. */
export const longName =
  "The team that looks after everything-nobody-else-wants-to-look-after-in-the-whole-organisation, since 2019"

export const deletion = (name: string, error?: string): Question => ({
  id: "ask-delete",
  title: `Delete ${name}?`,
  text: "What it means stands here.",
  action: "/x/1/delete",
  confirmLabel: "Delete",
  danger: true,
  ...(error === undefined ? {} : { error }),
})
