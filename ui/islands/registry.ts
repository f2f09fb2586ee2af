/** Every island by name. The bundler makes one chunk of each import, fetched only by pages that carry the island. */
import type { Markup } from "../parts/markup"

type Load = () => Promise<(props: never) => Markup>

export const islands = {
  "copy-button": async () => (await import("./copy-button.island")).CopyButton,
  "live-status": async () => (await import("./live-status.island")).LiveStatus,
  "selection-bar": async () => (await import("./selection-bar.island")).SelectionBar,
  "theme-switch": async () => (await import("./theme-switch.island")).ThemeSwitch,
} satisfies Record<string, Load>

export type IslandName = keyof typeof islands
