/** Fields that many resources have in common. */
import * as v from "valibot"
import { unicodeProblem } from "../pki/names"
import { documentedAs, documentSchema } from "./json-schema"

/** A name for people: 1-255 characters, none that hide or fake others. */
export const ResourceName = v.pipe(
  v.string(),
  documentedAs({
    type: "string",
    minLength: 1,
    format: "name",
    description: "Not blank; no control or zero-width characters, no words that mix scripts",
  }),
  v.check((text) => text.trim() !== "", "is required"),
  v.maxLength(255),
  v.check((text) => unicodeProblem(text) === null, "must not contain control, zero-width or look-alike characters"),
)

/** An id that the caller chooses; empty and absent mean that the server does. */
export const ChosenId = v.optional(
  v.pipe(
    v.string(),
    documentedAs({ type: "string", pattern: "^[^/\\\\\\s\\u0000-\\u001f\\u007f-\\u009f\\ufeff]*$" }),
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
export const mapOf = <V extends v.GenericSchema>(value: V, key: v.GenericSchema<string, string> = v.string()) =>
  v.pipe(
    v.unknown(),
    documentedAs(documentSchema(v.record(key, value), "input").schema),
    v.check((given) => !Array.isArray(given), "must be an object"),
    v.record(key, value),
  ) as unknown as v.GenericSchema<Record<string, v.InferInput<V>>, Record<string, v.InferOutput<V>>>

export const IdParam = v.object({ id: v.string() })

/** Drops the keys whose value is undefined, so that a patch has exactly the keys that were sent. */
export const withoutUndefined = <T extends object>(patch: T): Partial<T> =>
  Object.fromEntries(Object.entries(patch).filter(([, value]) => value !== undefined)) as Partial<T>
