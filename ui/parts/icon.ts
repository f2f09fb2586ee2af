/** The console's icons: 16-unit line drawings, decorative (the word beside them carries the meaning). */
import { html, type Markup } from "./markup"

const paths = {
  dashboard: "M2 2.5h5v6H2zM9 2.5h5v3.5H9zM9 8h5v5.5H9zM2 10.5h5v3H2z",
  certificate: "M8 1.7 13 3.6v3.9c0 3.2-2 5.6-5 6.8-3-1.2-5-3.6-5-6.8V3.6zM5.8 8l1.6 1.6 2.9-3.2",
  agent: "M2.5 2.5h11v4h-11zM2.5 9.5h11v4h-11zM5 4.5h.01M5 11.5h.01M8 4.5h3M8 11.5h3",
  job: "M8 1.8a6.2 6.2 0 1 1-5.6 3.5M2 2v3.5h3.5M8 4.8V8l2.2 1.6",
  audit: "M4 1.8h6l2.5 2.5v9.9H4zM10 1.8v2.7h2.5M6 7.2h4.5M6 9.5h4.5M6 11.8h3",
  search: "M7 2.2a4.8 4.8 0 1 1 0 9.6 4.8 4.8 0 0 1 0-9.6zM10.6 10.6 14 14",
  menu: "M2 4h12M2 8h12M2 12h12",
  close: "M3.5 3.5l9 9M12.5 3.5l-9 9",
  check: "M3 8.5 6.5 12 13 4.5",
  plus: "M8 3v10M3 8h10",
  copy: "M5.5 5.5h8v8h-8zM10.5 5.5v-3h-8v8h3",
  refresh: "M13.5 8a5.5 5.5 0 1 1-1.7-4M13.5 2v3h-3",
  deploy: "M8 10V2M5 5l3-3 3 3M2.5 9.5v4h11v-4",
  download: "M8 2v8M5 7l3 3 3-3M2.5 11v2.5h11V11",
  archive: "M2 3h12v3H2zM3 6v7.5h10V6M6.5 8.8h3",
  revoke: "M8 2a6 6 0 1 1 0 12A6 6 0 0 1 8 2zM3.8 3.8l8.4 8.4",
  target: "M8 2a6 6 0 1 1 0 12A6 6 0 0 1 8 2zM8 5.2a2.8 2.8 0 1 1 0 5.6 2.8 2.8 0 0 1 0-5.6z",
  arrow: "M3 8h10M9 4l4 4-4 4",
  back: "M13 8H3M7 4 3 8l4 4",
  sun: "M8 5.2a2.8 2.8 0 1 1 0 5.6 2.8 2.8 0 0 1 0-5.6zM8 1.2v1.6M8 13.2v1.6M1.2 8h1.6M13.2 8h1.6M3.2 3.2l1.1 1.1M11.7 11.7l1.1 1.1M12.8 3.2l-1.1 1.1M4.3 11.7l-1.1 1.1",
  moon: "M13.2 9.8A5.8 5.8 0 0 1 6.2 2.8a5.8 5.8 0 1 0 7 7z",
  system: "M1.8 3h12.4v8H1.8zM5.5 13.5h5M8 11v2.5",
  signout: "M6 2.5H2.5v11H6M10 4.5 13.5 8 10 11.5M13.5 8H6",
  key: "M10.3 2a3.7 3.7 0 1 1-3.4 5.2L2.5 11.5V14H5v-1.8h1.8V10.4l1.3-1.3M11.2 4.8h.01",
  filter: "M2 3h12L9.5 8.5V13l-3-1.5v-3z",
  clock: "M8 2a6 6 0 1 1 0 12A6 6 0 0 1 8 2zM8 4.8V8l2.3 1.5",
  alert: "M8 2 14.5 13.5h-13zM8 6.3v3.2M8 11.5h.01",
  issuer: "M2.5 6 8 2l5.5 4zM4 6.2v5M8 6.2v5M12 6.2v5M2.5 13.5h11M3.5 11.3h9",
  policy: "M3 2.5h10v11H3zM5.3 5.8l1 1 1.7-1.9M5.3 10l1 1 1.7-1.9M9.8 6h1.4M9.8 10.2h1.4",
  profile: "M3 1.8h6.2L13 5.5v8.7H3zM9 1.8v4h4M5.5 8.5h5M5.5 11h3",
  group: "M2 2.5h5v4H2zM9 2.5h5v4H9zM5.5 9.5h5v4h-5zM4.5 6.5V8h7V6.5M8 8v1.5",
  team: "M5.8 3a2.2 2.2 0 1 1 0 4.4 2.2 2.2 0 0 1 0-4.4zM1.8 13c0-2.3 1.7-3.8 4-3.8s4 1.5 4 3.8M10.5 3.3a2 2 0 0 1 0 3.8M11.5 9.4c1.7.3 2.8 1.6 2.8 3.6",
  owner: "M8 2.5a2.6 2.6 0 1 1 0 5.2 2.6 2.6 0 0 1 0-5.2zM3 13.7c0-2.7 2.1-4.2 5-4.2s5 1.5 5 4.2",
  notification: "M3.5 11.5h9L11.3 10V7a3.3 3.3 0 0 0-6.6 0v3zM6.8 13.5h2.4M8 3.7V2.2",
  approval:
    "M5.5 2.5a2.3 2.3 0 1 1 0 4.6 2.3 2.3 0 0 1 0-4.6zM1.5 13.2c0-2.5 1.7-4.1 4-4.1 1.3 0 2.4.5 3.1 1.4M9.2 11.8l1.9 1.9 3.6-4.4",
  info: "M8 2a6 6 0 1 1 0 12A6 6 0 0 1 8 2zM8 7.2v3.6M8 5.2h.01",
} as const

export type IconName = keyof typeof paths

export const icon = (name: IconName): Markup =>
  html`<svg class="icon" viewBox="0 0 16 16" width="16" height="16" aria-hidden="true" focusable="false"><path d=${paths[name]} /></svg>`
