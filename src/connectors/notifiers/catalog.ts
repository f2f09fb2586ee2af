/** Finds notifier connectors by channel, and opens those that are configured. */
import { AppError, messageOf } from "../../errors"
import { type Channel, channels, type Notifier, type NotifierDefinition, type NotifierDeps } from "./contract"
import * as registry from "./registry"

/** Every connector, in the order of `channels`. */
export const notifierDefinitions: readonly NotifierDefinition[] = Object.values(registry).sort(
  (a, b) => channels.indexOf(a.type) - channels.indexOf(b.type),
)

/** What is configured, by channel; a channel without a key has no notifier. */
export type NotifierSettings = Readonly<Partial<Record<Channel, Readonly<Record<string, unknown>>>>>

/**
 * Opens every configured channel.
 * @throws AppError `validation` naming the channel and the key
 */
export const openNotifiers = (settings: NotifierSettings, deps: NotifierDeps): ReadonlyMap<Channel, Notifier> =>
  new Map(
    notifierDefinitions.flatMap((definition): [Channel, Notifier][] => {
      const config = settings[definition.type]
      if (config === undefined) return []
      try {
        return [[definition.type, definition.open(config, deps)]]
      } catch (cause) {
        throw new AppError("validation", `notification channel ${definition.type}: ${messageOf(cause)}`, { cause })
      }
    }),
  )
