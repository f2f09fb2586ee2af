/** Form fields: label, control, hint and error tied together by id. */
import { html, type Markup } from "./markup"

export interface Option {
  readonly value: string
  readonly label: string
}

export interface FieldFrame {
  readonly id: string
  readonly label: string
  readonly hint?: string
  readonly error?: string
  readonly required?: boolean
}

export const describedBy = ({ id, hint, error }: FieldFrame): string | undefined =>
  [hint && `${id}-hint`, error && `${id}-error`].filter(Boolean).join(" ") || undefined

const framed = (frame: FieldFrame, control: Markup): Markup => html`<div class="field">
  <label for=${frame.id}>${frame.label}${frame.required ? null : html`<span class="optional">optional</span>`}</label>
  ${control}
  ${frame.hint ? html`<p class="hint" id=${`${frame.id}-hint`}>${frame.hint}</p>` : null}
  ${frame.error ? html`<p class="field-error" id=${`${frame.id}-error`}>${frame.error}</p>` : null}
</div>`

interface TextField extends FieldFrame {
  readonly name: string
  readonly value?: string
  readonly type?: "text" | "password" | "search" | "email" | "number" | "date"
  readonly autocomplete?: string
  readonly autofocus?: boolean
  readonly placeholder?: string
  readonly list?: string
  readonly pattern?: string
  readonly maxlength?: number
  /** Of a number. */
  readonly min?: number
  readonly max?: number
  readonly mono?: boolean
}

export const textField = (field: TextField): Markup =>
  framed(
    field,
    html`<input id=${field.id} name=${field.name} type=${field.type ?? "text"} value=${field.value ?? ""}
      class=${field.mono ? "mono" : undefined} required=${field.required} autocomplete=${field.autocomplete ?? "off"}
      autofocus=${field.autofocus} placeholder=${field.placeholder} list=${field.list} pattern=${field.pattern}
      maxlength=${field.maxlength} min=${field.min} max=${field.max} aria-describedby=${describedBy(field)} aria-invalid=${field.error ? "true" : undefined} />`,
  )

interface TextArea extends FieldFrame {
  readonly name: string
  readonly value?: string
  readonly rows?: number
  readonly placeholder?: string
  readonly mono?: boolean
  /** Nobody remembers it: neither the browser nor the form that outlives a session. */
  readonly isSecret?: boolean
}

export const textArea = (field: TextArea): Markup =>
  framed(
    field,
    html`<textarea id=${field.id} name=${field.name} rows=${field.rows ?? 3} class=${field.mono ? "mono" : undefined}
      required=${field.required} placeholder=${field.placeholder} spellcheck="false" data-secret=${field.isSecret} autocomplete=${field.isSecret ? "off" : undefined} aria-describedby=${describedBy(field)}
      aria-invalid=${field.error ? "true" : undefined}>${field.value ?? ""}</textarea>`,
  )

interface SelectField extends FieldFrame {
  readonly name: string
  readonly value?: string
  readonly options: readonly Option[]
  /** The words of the empty choice; left out, there is none. */
  readonly empty?: string
}

export const selectField = (field: SelectField): Markup =>
  framed(
    field,
    html`<select id=${field.id} name=${field.name} required=${field.required} aria-describedby=${describedBy(field)}
      aria-invalid=${field.error ? "true" : undefined}>
      ${field.empty === undefined ? null : html`<option value="">${field.empty}</option>`}
      ${field.options.map(
        ({ value, label }) => html`<option value=${value} selected=${value === (field.value ?? "")}>${label}</option>`,
      )}
    </select>`,
  )

export const checkBox = (box: {
  id: string
  name: string
  value: string
  label: Markup
  checked?: boolean
  /** Id of the words below it. */
  describedBy?: string
}): Markup =>
  html`<div class="choice">
    <input type="checkbox" id=${box.id} name=${box.name} value=${box.value} checked=${box.checked} aria-describedby=${box.describedBy} />
    <label for=${box.id}>${box.label}</label>
  </div>`
