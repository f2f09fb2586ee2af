/** Fields that many resources have in common. */
import * as v from "valibot"
import { unicodeProblem } from "../pki/names"

/** A name for people: 1-255 characters, none that hide or fake others. */
export const ResourceName = v.pipe(
  v.string(),
  v.check((text) => text.trim() !== "", "is required"),
  v.maxLength(255),
  v.check((text) => unicodeProblem(text) === null, "must not contain control, zero-width or look-alike characters"),
)

/** An id that the caller chooses; empty and absent mean that the server does. */
export const ChosenId = v.optional(
  v.pipe(
    v.string(),
    v.maxLength(255),
    v.check((text) => !/[/\\\s\p{Cc}]/u.test(text), "must not contain slashes, blanks or control characters"),
    v.transform((text) => (text === "" ? undefined : text)),
  ),
)

/** The id of another row; empty means none. */
export const OptionalReference = v.pipe(
  v.string(),
  v.maxLength(255),
  v.transform((text) => (text === "" ? null : text)),
)

/** A JSON object with keys of the caller's choice. By itself v.record takes the list ["a"] for { "0": "a" }. */
export const mapOf = <V extends v.GenericSchema>(value: V) =>
  v.pipe(
    v.unknown(),
    v.check((given) => !Array.isArray(given), "must be an object"),
    v.record(v.string(), value),
  ) as unknown as v.GenericSchema<Record<string, v.InferInput<V>>, Record<string, v.InferOutput<V>>>

export const IdParam = v.object({ id: v.string() })

/** Drops the keys whose value is undefined, so that a patch has exactly the keys that were sent. */
export const withoutUndefined = <T extends object>(patch: T): Partial<T> =>
  Object.fromEntries(Object.entries(patch).filter(([, value]) => value !== undefined)) as Partial<T>
