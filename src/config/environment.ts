/** Typed reading of environment variables. What a variable means and which values are refused is config.ts's business. */
import { AppError } from "../errors"

export type Env = Readonly<Record<string, string | undefined>>

const unitMilliseconds: Readonly<Record<string, number>> = {
  ns: 1e-6,
  us: 1e-3,
  µs: 1e-3,
  μs: 1e-3,
  ms: 1,
  s: 1000,
  m: 60_000,
  h: 3_600_000,
}

/** Go counts a duration in nanoseconds in 64 bits; what does not fit is not a duration. */
const longestMilliseconds = 2 ** 63 / 1e6

/** Milliseconds of a duration in Go's notation ("1h30m", "250ms", "-1.5s", "0"), rounded; null when it is none. */
export const parseGoDuration = (text: string): number | null => {
  const [, sign, magnitude] = /^([+-]?)(.*)$/s.exec(text) ?? []
  if (magnitude === undefined) return null
  if (magnitude === "0") return 0
  if (!/^(?:(?:\d+\.?\d*|\.\d+)(?:ns|us|µs|μs|ms|s|m|h))+$/.test(magnitude)) return null
  let total = 0
  for (const [, amount, unit] of magnitude.matchAll(/(\d+\.?\d*|\.\d+)(ns|us|µs|μs|ms|s|m|h)/g)) {
    total += Number(amount) * (unitMilliseconds[unit ?? ""] ?? Number.NaN)
  }
  if (!(total < longestMilliseconds)) return null
  const rounded = Math.round(total)
  return sign === "-" ? 0 - rounded : rounded
}

export const refuse = (line: string): never => {
  throw new AppError("validation", line)
}

export interface NumberRange {
  readonly min?: number
  readonly max?: number
}

const inRange = (name: string, value: number, { min, max }: NumberRange): number => {
  if (min !== undefined && max !== undefined && (value < min || value > max)) {
    return refuse(`${name} must be between ${min} and ${max}`)
  }
  if (min !== undefined && value < min) return refuse(`${name} must be at least ${min}`)
  return value
}

export interface EnvironmentReader {
  /** The raw value; null when unset. An empty variable counts as unset: compose files and unit files leave such behind. */
  text(name: string): string | null
  bool(name: string, fallback: boolean): boolean
  int(name: string, fallback: number, range?: NumberRange): number
  float(name: string, fallback: number): number
  /** Milliseconds. `fallback` and `min` are in Go's notation too, so that messages and documentation show one form. */
  duration(name: string, fallback: string, min?: string): number
  /** Split at commas, trimmed, without empty entries. */
  list(name: string): readonly string[]
  oneOf<const T extends string>(name: string, allowed: readonly T[], fallback: T): T
}

/** `warn` hears of values that could not be parsed and were replaced by their default. Values are never repeated. */
export const environmentReader = (env: Env, warn: (line: string) => void): EnvironmentReader => {
  const text = (name: string) => env[name] || null

  const parsed = (name: string, fallback: number, wanted: string, parse: (value: string) => number | null): number => {
    const value = text(name)
    if (value === null) return fallback
    const number = parse(value.trim())
    if (number !== null) return number
    warn(`${name} is not ${wanted}; the default is used`)
    return fallback
  }

  const milliseconds = (duration: string): number => {
    const value = parseGoDuration(duration)
    if (value === null) throw new Error(`"${duration}" is not a duration`)
    return value
  }

  return {
    text,
    bool(name, fallback) {
      const value = text(name)
      return value === null ? fallback : ["true", "1", "yes"].includes(value.trim().toLowerCase())
    },
    int(name, fallback, range = {}) {
      const value = parsed(name, fallback, "a whole number", (digits) => {
        const number = /^[+-]?\d+$/.test(digits) ? Number(digits) : Number.NaN
        return Number.isSafeInteger(number) ? number : null
      })
      return inRange(name, value, range)
    },
    float(name, fallback) {
      return parsed(name, fallback, "a number", (digits) => {
        const number = /^[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?$/.test(digits) ? Number(digits) : Number.NaN
        return Number.isFinite(number) ? number : null
      })
    },
    duration(name, fallback, min) {
      const value = parsed(name, milliseconds(fallback), "a duration such as 30s, 5m or 24h", parseGoDuration)
      if (min !== undefined && value < milliseconds(min)) return refuse(`${name} must be at least ${min}`)
      return value
    },
    list: (name) =>
      (text(name) ?? "")
        .split(",")
        .map((entry) => entry.trim())
        .filter((entry) => entry !== ""),
    oneOf(name, allowed, fallback) {
      const value = text(name)?.trim()
      if (value === undefined) return fallback
      return allowed.find((candidate) => candidate === value) ?? refuse(`${name} must be one of ${allowed.join(", ")}`)
    },
  }
}
