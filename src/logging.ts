/**
 * Logs: one JSON object per line on stderr (or text for people), through LogTape. Everything logged while a request is handled
 * carries its id. Values under keys that name a secret, and passwords inside URLs, are masked whatever a caller passes.
 */
import { AsyncLocalStorage } from "node:async_hooks"
import { configureSync, getLogger, type Logger, type LogRecord, resetSync } from "@logtape/logtape"

export interface LogSettings {
  readonly level: "debug" | "info" | "warn" | "error"
  readonly format: "json" | "text"
  /** Receives whole lines with their end; default stderr. */
  readonly write?: (line: string) => void
}

const context = new AsyncLocalStorage<Record<string, unknown>>()

/** Everything `run` logs, also later and in callbacks, carries these properties. */
export const withLogContext = <R>(properties: Record<string, unknown>, run: () => R): R =>
  context.run({ ...context.getStore(), ...properties }, run)

/** `logger("scheduler")`: silent until `configureLogging` was called. */
export const logger = (...category: string[]): Logger => getLogger(["certctl", ...category])

const secretKey = /^(authorization|cookie|set-cookie|.*(password|passphrase|secret|token|api_?key|private_?key))$/i
const urlPassword = /([a-z][a-z0-9+.-]*:\/\/[^\s:@/]*):[^\s@/]+@/gi

const errorFacts = (error: Error): Record<string, unknown> => ({
  message: error.message,
  stack: error.stack,
  ...("code" in error ? { code: error.code } : {}),
  ...(error.cause === undefined ? {} : { cause: error.cause }),
})

/** For JSON.stringify: errors have no enumerable keys of their own, bigints no JSON. */
const presentable = (key: string, value: unknown): unknown => {
  if (secretKey.test(key)) return "[redacted]"
  if (value instanceof Error) return errorFacts(value)
  return typeof value === "bigint" ? value.toString() : value
}

const toJson = (value: unknown): string => {
  try {
    return JSON.stringify(value, presentable)
  } catch {
    // A property that refers to itself must not lose the line.
    return JSON.stringify({ ...Object(value), properties: "not serialisable" }, (key, inner) =>
      typeof inner === "object" && key !== "" ? String(inner) : presentable(key, inner),
    )
  }
}

const levelNames: Record<LogRecord["level"], string> = {
  trace: "debug",
  debug: "debug",
  info: "info",
  warning: "warn",
  error: "error",
  fatal: "error",
}

const messageText = ({ message }: LogRecord): string =>
  message
    .map((part) => (typeof part === "string" ? part : part instanceof Error ? part.message : toJson(part)))
    .join("")

const asJson = (record: LogRecord): string =>
  toJson({
    time: new Date(record.timestamp).toISOString(),
    level: levelNames[record.level],
    logger: record.category.slice(1).join("."),
    message: messageText(record),
    ...record.properties,
  })

const asText = (record: LogRecord): string => {
  const properties = Object.entries(record.properties).map(
    ([key, value]) =>
      `${key}=${typeof value === "string" && /^\S+$/.test(value) && !secretKey.test(key) ? value : toJson({ [key]: value }).slice(key.length + 4, -1)}`,
  )
  const time = new Date(record.timestamp).toISOString()
  const source = record.category.slice(1).join(".")
  return [time, levelNames[record.level].toUpperCase().padEnd(5), source, messageText(record), ...properties]
    .join(" ")
    .replaceAll("\n", "\\n")
}

/** May be called again; the last settings count. */
export const configureLogging = ({ level, format, write }: LogSettings): void => {
  const line = format === "json" ? asJson : asText
  const out = write ?? ((text: string) => void process.stderr.write(text))
  resetSync()
  configureSync({
    contextLocalStorage: context,
    sinks: { out: (record) => out(`${line(record).replaceAll(urlPassword, "$1:***@")}\n`) },
    loggers: [
      { category: ["certctl"], sinks: ["out"], lowestLevel: level === "warn" ? "warning" : level },
      { category: ["logtape", "meta"], sinks: ["out"], lowestLevel: "error" },
    ],
  })
}
