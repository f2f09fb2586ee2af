/** The conventions of our JSON: how times and absent values are written. */
import * as v from "valibot"

/** A required timestamp that has no value. */
export const zeroTimestamp = "0001-01-01T00:00:00Z"

/** Earlier than anything certctl records; such a value means "none". */
const earliest = Date.UTC(2000, 0, 1)

const hasValue = (time: Date | null | undefined): time is Date =>
  time !== null && time !== undefined && time.getTime() >= earliest

/** A timestamp that is always on the wire: RFC 3339, UTC; the zero timestamp where there is none. */
export const requiredTime = (time: Date | null | undefined): string =>
  hasValue(time) ? time.toISOString() : zeroTimestamp

/** A timestamp whose key is left out where there is none (undefined is not serialised). */
export const optionalTime = (time: Date | null | undefined): string | undefined =>
  hasValue(time) ? time.toISOString() : undefined

type Present<T> = { [K in keyof T as null extends T[K] ? never : undefined extends T[K] ? never : K]: T[K] } & {
  [K in keyof T as null extends T[K] ? K : undefined extends T[K] ? K : never]?: Exclude<T[K], null | undefined>
}

/** Leaves out the keys whose value is null or undefined; for answers where an absent value has no key. */
export const withoutAbsent = <T extends object>(answer: T): Present<T> =>
  Object.fromEntries(Object.entries(answer).filter(([, value]) => value !== null && value !== undefined)) as Present<T>

/** A timestamp in an answer. */
export const WireTime = v.pipe(v.string(), v.isoTimestamp(), v.description("RFC 3339, UTC"))

/** RFC 3339 with any offset and up to nine digits of fraction. null: not a time. */
export const readTime = (text: string): Date | null => {
  if (!/^\d{4}-\d\d-\d\d[Tt]\d\d:\d\d:\d\d(\.\d{1,9})?([Zz]|[+-]\d\d:\d\d)$/.test(text)) return null
  const time = new Date(text.toUpperCase())
  return Number.isNaN(time.getTime()) ? null : time
}

/** A time filter: an unparsable value counts as absent, as list filters do. */
export const TimeFilter = v.optional(
  v.pipe(
    v.string(),
    v.transform((text) => readTime(text) ?? undefined),
  ),
)
