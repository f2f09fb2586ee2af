/** Forms from a description: what a field is called and how it is typed in; drawn with what was typed and what was wrong. */
import { checkBox, describedBy, type Option, selectField, textArea, textField } from "./form"
import { html, type Markup } from "./markup"

/** What stands in a form, by field name; fields with several ticks hold a list. */
export type FormValues = Readonly<Record<string, string | readonly string[]>>

/** By field name; `form` is about the whole. */
export type FieldErrors = Readonly<Record<string, string>>

interface FieldWords {
  readonly name: string
  readonly label: string
  readonly hint?: string
  readonly required?: boolean
}

export type FormField = FieldWords &
  (
    | {
        readonly kind: "text"
        readonly type?: "text" | "email"
        readonly mono?: boolean
        readonly maxlength?: number
        readonly placeholder?: string
      }
    | { readonly kind: "number"; readonly min?: number; readonly max?: number; readonly placeholder?: string }
    /** Never shown again once it was typed. `lines`: keys and certificates, which a one-line field would join. */
    | { readonly kind: "secret"; readonly lines?: boolean }
    | { readonly kind: "lines"; readonly rows?: number; readonly placeholder?: string; readonly prose?: boolean }
    | { readonly kind: "select"; readonly options: readonly Option[]; readonly empty?: string }
    /** One check box: `true` or nothing. */
    | { readonly kind: "tick" }
    | { readonly kind: "ticks"; readonly options: readonly Option[] }
  )

export interface FormSection {
  readonly title: string
  /** Two fields side by side where the screen is wide enough. */
  readonly fields: readonly (FormField | readonly [FormField, FormField])[]
  /** Shown after a click, unless something in it is wrong or filled in. */
  readonly folded?: boolean
}

export const fieldsOfSections = (sections: readonly FormSection[]): FormField[] =>
  sections.flatMap(({ fields }) => fields.flatMap((field) => ("kind" in field ? [field] : [...field])))

export const textOf = (values: FormValues, name: string): string => {
  const value = values[name]
  return typeof value === "string" ? value : (value?.[0] ?? "")
}

const listOf = (values: FormValues, name: string): readonly string[] => {
  const value = values[name]
  return value === undefined ? [] : typeof value === "string" ? [value] : value
}

/** Names of configuration keys have dots; ids without them are easier on style sheets and tests. */
const idOf = (name: string): string => name.replaceAll(".", "-")

const remarks = (id: string, { hint, error }: { hint?: string; error?: string }): Markup =>
  html`${hint ? html`<p class="hint" id=${`${id}-hint`}>${hint}</p>` : null}${error ? html`<p class="field-error" id=${`${id}-error`}>${error}</p>` : null}`

const ticks = (field: Extract<FormField, { kind: "ticks" }>, values: FormValues, error: string | undefined): Markup => {
  const id = idOf(field.name)
  const given = { id, label: field.label, ...(field.hint ? { hint: field.hint } : {}), ...(error ? { error } : {}) }
  const chosen = listOf(values, field.name)
  return html`<div class="field" role="group" aria-labelledby=${`${id}-label`} aria-describedby=${describedBy(given)}>
    <p class="field-label" id=${`${id}-label`}>${field.label}</p>
    ${
      field.options.length === 0
        ? html`<p class="hint">There is nothing to choose from yet.</p>`
        : html`<div class="choices">${field.options.map(({ value, label }, index) =>
            checkBox({
              id: `${id}-${index}`,
              name: field.name,
              value,
              label,
              checked: chosen.includes(value),
            }),
          )}</div>`
    }
    ${remarks(id, given)}
  </div>`
}

const tick = (field: Extract<FormField, { kind: "tick" }>, values: FormValues, error: string | undefined): Markup => {
  const id = idOf(field.name)
  const given = { ...(field.hint ? { hint: field.hint } : {}), ...(error ? { error } : {}) }
  const describes = describedBy({ id, label: field.label, ...given })
  return html`<div class="field">${checkBox({
    id,
    name: field.name,
    value: "true",
    label: field.label,
    checked: textOf(values, field.name) === "true",
    ...(describes === undefined ? {} : { describedBy: describes }),
  })}${remarks(id, given)}</div>`
}

const drawn = (field: FormField, values: FormValues, error: string | undefined): Markup => {
  const { name, label, hint, required } = field
  const common = {
    id: idOf(name),
    name,
    label,
    value: textOf(values, name),
    ...(hint ? { hint } : {}),
    ...(required ? { required } : {}),
    ...(error ? { error } : {}),
  }
  switch (field.kind) {
    case "text": {
      const { type, mono, maxlength, placeholder } = field
      return textField({
        ...common,
        ...(type ? { type } : {}),
        ...(mono ? { mono } : {}),
        ...(maxlength ? { maxlength } : {}),
        ...(placeholder ? { placeholder } : {}),
      })
    }
    case "number": {
      const { min, max, placeholder } = field
      return textField({
        ...common,
        type: "number",
        ...(min === undefined ? {} : { min }),
        ...(max === undefined ? {} : { max }),
        ...(placeholder ? { placeholder } : {}),
      })
    }
    case "secret":
      return field.lines
        ? textArea({ ...common, mono: true, rows: 4, isSecret: true })
        : textField({ ...common, type: "password", autocomplete: "new-password", mono: true })
    case "lines":
      return textArea({
        ...common,
        mono: field.prose !== true,
        ...(field.rows ? { rows: field.rows } : {}),
        ...(field.placeholder ? { placeholder: field.placeholder } : {}),
      })
    case "select":
      return selectField({ ...common, options: field.options, ...(field.empty ? { empty: field.empty } : {}) })
    case "tick":
      return tick(field, values, error)
    case "ticks":
      return ticks(field, values, error)
  }
}

const section = ({ title, fields, folded }: FormSection, values: FormValues, errors: FieldErrors): Markup => {
  const body = fields.map((entry) =>
    "kind" in entry
      ? drawn(entry, values, errors[entry.name])
      : html`<div class="form-pair">${entry.map((field) => drawn(field, values, errors[field.name]))}</div>`,
  )
  if (!folded) return html`<fieldset class="panel"><legend>${title}</legend>${body}</fieldset>`
  const isUsed = fieldsOfSections([{ title, fields }]).some(
    ({ name }) => errors[name] !== undefined || listOf(values, name).some((value) => value !== "" && value !== "false"),
  )
  return html`<details class="panel folded" open=${isUsed}><summary>${title}</summary><div class="folded-body">${body}</div></details>`
}

export const formSections = (sections: readonly FormSection[], values: FormValues, errors: FieldErrors): Markup =>
  sections.map((one) => section(one, values, errors))
