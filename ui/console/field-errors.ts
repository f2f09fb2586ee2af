/** The words of a refusal, put beside the fields of the form that they are about. */
import type { FieldErrors } from "../parts/fields"

const capital = (words: string): string => words.charAt(0).toUpperCase() + words.slice(1)

/** `allowed[0]` to `allowed`; `sub.host` to `sub.host`, then `sub`: the longest name that is a field, also as a key of `config`. */
const fieldNamed = (path: string, fields: readonly string[]): string | undefined => {
  const keys = path.replaceAll("]", "").split(/[.[]/)
  for (let length = keys.length; length > 0; length -= 1) {
    const name = keys.slice(0, length).join(".")
    const found = fields.find((field) => field === name || field === `config.${name}`)
    if (found !== undefined) return found
  }
  return undefined
}

/** `sans[0] must be …; name is required` by field; what names no field of the form is about the whole. */
export const fieldErrors = (message: string, fields: readonly string[]): FieldErrors => {
  const errors: Record<string, string> = {}
  for (const part of message.split("; ")) {
    const [, path = "", words = ""] = /^([\w.[\]]+)\s(.*)$/s.exec(part) ?? []
    const field = path === "" ? undefined : fieldNamed(path, fields)
    if (field === undefined) errors.form = [errors.form, capital(part)].filter(Boolean).join("; ")
    else if (errors[field] === undefined) errors[field] = words === "is required" ? "This is required" : capital(words)
  }
  return errors
}

/** A refusal that may be about several fields, or about one that only its code tells. */
export const errorsOf = (
  error: { readonly code: string; readonly message: string },
  fields: readonly string[],
  conflictField: string,
): FieldErrors => {
  if (error.code === "validation") return fieldErrors(error.message, fields)
  if (error.code === "conflict" && fields.includes(conflictField)) return { [conflictField]: capital(error.message) }
  const [, path = "", words = ""] = /^([\w.]+)\s(.*)$/s.exec(error.message) ?? []
  const field = fieldNamed(path, fields)
  return field === undefined ? { form: capital(error.message) } : { [field]: capital(words) }
}
