/** The form of everything that is made and changed by one: drawn from a description, shown again with what was typed. */
import { type FieldErrors, type FormSection, type FormValues, formSections } from "../parts/fields"
import { type Frame, layout } from "../parts/layout"
import { html, type Markup } from "../parts/markup"

export interface ResourceFormProps {
  readonly frame: Frame
  readonly title: string
  readonly up: { readonly label: string; readonly href: string }
  /** Where it posts. */
  readonly action: string
  readonly submit: string
  /** What the form is about, where its title does not say it all. */
  readonly about?: Markup
  /** Hidden fields. */
  readonly fixed?: Readonly<Record<string, string>>
  readonly sections: readonly FormSection[]
  readonly values: FormValues
  readonly errors: FieldErrors
}

export const resourceFormPage = (props: ResourceFormProps): Markup => {
  const { frame, title, up, action, submit, about, fixed = {}, sections, values, errors } = props
  const wrong = Object.keys(errors).filter((name) => name !== "form").length
  return layout(
    frame,
    { title, up },
    html`<form class="form-page" method="post" action=${action}>
      ${
        errors.form
          ? html`<p class="notice tone-bad" role="alert">${errors.form}</p>`
          : wrong > 0
            ? html`<p class="notice tone-bad" role="alert">Nothing was saved: ${wrong === 1 ? "one field needs" : `${wrong} fields need`} another look.</p>`
            : null
      }
      ${about ? html`<p class="form-about">${about}</p>` : null}
      ${Object.entries(fixed).map(([name, value]) => html`<input type="hidden" name=${name} value=${value} />`)}
      ${formSections(sections, values, errors)}
      <div class="form-end">
        <div class="form-actions"><a class="button" href=${up.href}>Cancel</a><button class="button primary">${submit}</button></div>
      </div>
    </form>`,
  )
}

export interface Kind {
  readonly type: string
  readonly label: string
  /** What it is for, in a sentence. */
  readonly description: string
}

interface ChooseKindProps {
  readonly frame: Frame
  readonly title: string
  readonly up: { readonly label: string; readonly href: string }
  /** The form's path; the chosen type is its `type`. */
  readonly path: string
  readonly kinds: readonly Kind[]
}

/** Which kind of thing is to be made, where the rest of the form depends on it. */
export const chooseKindPage = ({ frame, title, up, path, kinds }: ChooseKindProps): Markup =>
  layout(
    frame,
    { title, up, subtitle: "What kind?" },
    html`<ul class="kinds">${kinds.map(
      ({ type, label, description }) =>
        html`<li class="panel"><a href=${`${path}?${new URLSearchParams({ type })}`}>${label}</a><p>${description}</p></li>`,
    )}</ul>`,
  )
