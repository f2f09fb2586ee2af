/** What a notifier connector is: the code that delivers a message over one channel, and says in one line why it could not. */
import type * as v from "valibot"
import type { Clock } from "../../clock"
import { AppError } from "../../errors"
import { type ConfigSchema, parseConfig } from "../config"
import type { ResolveHost } from "../outbound-address"

export const channels = ["Email", "Webhook", "Slack", "Teams", "PagerDuty", "OpsGenie"] as const
export type Channel = (typeof channels)[number]

export const severities = ["info", "warning", "high", "critical"] as const
export type Severity = (typeof severities)[number]

export interface Notice {
  /** The same for every attempt: channels that recognise repetitions are given it. */
  readonly id: string
  /** An alert wants somebody to act, an event tells what happened. */
  readonly kind: "alert" | "event"
  /** `ExpirationWarning`, `RenewalFailure` …; `Digest` for the summary mail. */
  readonly type: string
  readonly severity: Severity
  /** One line. */
  readonly subject: string
  /** Plain text, lines separated by "\n". */
  readonly body: string
  /** For channels that can show it; everything in it is escaped already. */
  readonly html?: string
  /** An e-mail address for Email; the channel's name elsewhere. */
  readonly recipient: string
  readonly certificateId: string | null
  readonly createdAt: Date
}

/** First match wins, in this order. */
export type FailureClass =
  | "timeout"
  | "auth"
  | "rate_limited"
  | "validation"
  | "upstream_5xx"
  | "upstream_4xx"
  | "network"
  | "other"

/** A failed delivery, its class in front of the words. `retryAfterSeconds`: the earliest the channel wants to hear of us again. */
export const deliveryError = (failure: FailureClass, words: string, retryAfterSeconds?: number): AppError =>
  new AppError(failure === "rate_limited" ? "rate_limited" : "upstream", `${failure}: ${words}`, {
    body: { failure, ...(retryAfterSeconds === undefined ? {} : { retry_after: retryAfterSeconds }) },
  })

/** What the channel asked us to wait, in seconds; null when it asked for nothing. */
export const retryAfterOf = (error: unknown): number | null => {
  const seconds = error instanceof AppError ? error.body?.retry_after : undefined
  return typeof seconds === "number" ? seconds : null
}

/** For channels that take severities in their own words. */
export type PerSeverity<T> = Readonly<Record<Severity, T>>

export interface Notifier {
  /** Resolves when the channel has accepted the notice. Rejects with `deliveryError`, within `timeoutMs` of the definition. */
  send(notice: Notice): Promise<void>
  /** Resolves when the channel can be reached; delivers nothing. Rejects with `deliveryError`. */
  testConnection(): Promise<void>
}

export interface NotifierDeps {
  readonly fetch: typeof globalThis.fetch
  readonly clock: Clock
  /** Of names whose address an operator chose; default: the system's. */
  readonly resolve?: ResolveHost
  /** CA certificates (PEM) to trust in place of the usual ones. */
  readonly ca?: string
  /** Shorter limits for tests of what happens when a channel hangs. */
  readonly timeoutMs?: number
}

/** A connector as the catalog holds it: the configuration's type is known only inside. */
export interface NotifierDefinition {
  readonly type: Channel
  readonly label: string
  readonly config: ConfigSchema
  readonly example: Readonly<Record<string, unknown>>
  /** A delivery that takes longer counts as failed. */
  readonly timeoutMs: number
  /** Parses the configuration (fails with `validation`). Opens nothing yet. */
  open(rawConfig: unknown, deps: NotifierDeps): Notifier
}

export const defineNotifier = <S extends ConfigSchema>(connector: {
  type: Channel
  label: string
  config: S
  example: v.InferInput<S> & Record<string, unknown>
  timeoutMs: number
  connect(config: v.InferOutput<S>, deps: NotifierDeps & { readonly timeoutMs: number }): Notifier
}): NotifierDefinition => ({
  type: connector.type,
  label: connector.label,
  config: connector.config,
  example: connector.example,
  timeoutMs: connector.timeoutMs,
  open: (rawConfig, deps) =>
    connector.connect(parseConfig(connector.config, rawConfig), { timeoutMs: connector.timeoutMs, ...deps }),
})

/** At most `most` characters (UTF-16), the last one an ellipsis where something was cut off. */
export const shortened = (text: string, most: number): string =>
  text.length <= most ? text : `${text.slice(0, most - 1).replace(/[\uD800-\uDBFF]$/, "")}…`
