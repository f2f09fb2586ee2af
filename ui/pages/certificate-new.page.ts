/** The form for a new certificate. Shown again with what was typed when something is wrong. */
import { checkBox, type Option, selectField, textArea, textField } from "../parts/form"
import { type Frame, layout } from "../parts/layout"
import { html, type Markup } from "../parts/markup"

export interface NewCertificateProps {
  readonly frame: Frame
  readonly options: {
    readonly issuers: readonly Option[]
    readonly profiles: readonly Option[]
    readonly renewalPolicies: readonly Option[]
    readonly owners: readonly Option[]
    readonly teams: readonly Option[]
    readonly targets: readonly Option[]
  }
  /** What was typed, by field name; the first show has presets only. */
  readonly values: Readonly<Record<string, string>>
  readonly targetIds: readonly string[]
  readonly issueNow: boolean
  /** By field name; `form` is about the whole. */
  readonly errors: Readonly<Record<string, string>>
}

/** The choice of an owner or team that is made together with the certificate. */
export const NEW = "new"

const environments = ["production", "staging", "development"]

type Bound = (name: string) => { id: string; name: string; value: string; error?: string }

/** Who answers may be made here too: in the open where there is nobody to choose, else behind a line to unfold. */
const newPeople = (
  { owners, teams }: NewCertificateProps["options"],
  values: Readonly<Record<string, string>>,
  bound: Bound,
): Markup => {
  const needsOwner = owners.length === 0
  const needsTeam = teams.length === 0
  const fields = html`<div class="form-pair">
      ${textField({ ...bound("new_owner_name"), label: "New owner", required: needsOwner, placeholder: "Ada Lovelace", maxlength: 255 })}
      ${textField({ ...bound("new_owner_email"), label: "Their mail address", type: "email", placeholder: "ada@example.com", maxlength: 255 })}
    </div>
    ${textField({ ...bound("new_team_name"), label: "New team", required: needsTeam, placeholder: "Platform", maxlength: 255 })}`
  if (needsOwner || needsTeam) return fields
  const isUsed =
    values.owner_id === NEW ||
    values.team_id === NEW ||
    Object.keys(values).some((name) => name.startsWith("new_") && values[name] !== "")
  return html`<details class="new-people" open=${isUsed}><summary>New owner or team</summary>${fields}</details>`
}

export const newCertificatePage = ({
  frame,
  options,
  values,
  targetIds,
  issueNow,
  errors,
}: NewCertificateProps): Markup => {
  const bound = (name: string) => ({
    id: name,
    name,
    value: values[name] ?? "",
    ...(errors[name] ? { error: errors[name] } : {}),
  })
  return layout(
    frame,
    { title: "New certificate", up: { label: "Certificates", href: "/certificates" } },
    html`<form class="form-page" method="post" action="/certificates">
      ${errors.form ? html`<p class="notice tone-bad" role="alert">${errors.form}</p>` : null}
      <fieldset class="panel"><legend>Names</legend>
        ${textField({ ...bound("common_name"), label: "Common name", required: true, autofocus: true, mono: true, placeholder: "www.example.com", maxlength: 253 })}
        ${textArea({ ...bound("sans"), label: "Further names", mono: true, hint: "DNS names, IP addresses or mail addresses, one per line. The common name is included by itself.", placeholder: "example.com" })}
        ${textField({ ...bound("name"), label: "Name in certctl", required: true, hint: "How this certificate is called in lists; must be unique.", maxlength: 255 })}
      </fieldset>
      <fieldset class="panel"><legend>Issuance and renewal</legend>
        <div class="form-pair">
          ${selectField({ ...bound("issuer_id"), label: "Issuer", required: true, options: options.issuers, empty: "Choose an issuer" })}
          ${selectField({ ...bound("certificate_profile_id"), label: "Profile", options: options.profiles, empty: "None" })}
        </div>
        ${selectField({ ...bound("renewal_policy_id"), label: "Renewal policy", required: true, options: options.renewalPolicies, empty: "Choose a renewal policy" })}
      </fieldset>
      <fieldset class="panel"><legend>Responsibility</legend>
        ${
          options.owners.length + options.teams.length === 0
            ? null
            : html`<div class="form-pair">
          ${
            options.owners.length === 0
              ? null
              : selectField({
                  ...bound("owner_id"),
                  label: "Owner",
                  required: true,
                  options: [...options.owners, { value: NEW, label: "New owner, named below" }],
                  empty: "Choose an owner",
                })
          }
          ${
            options.teams.length === 0
              ? null
              : selectField({
                  ...bound("team_id"),
                  label: "Team",
                  required: true,
                  options: [...options.teams, { value: NEW, label: "New team, named below" }],
                  empty: "Choose a team",
                })
          }
        </div>`
        }
        ${newPeople(options, values, bound)}
        ${textField({ ...bound("environment"), label: "Environment", list: "environments", placeholder: "production" })}
        <datalist id="environments">${environments.map((name) => html`<option value=${name}></option>`)}</datalist>
        ${textArea({ ...bound("tags"), label: "Tags", mono: true, rows: 2, hint: "One per line, as key=value." })}
      </fieldset>
      <fieldset class="panel"><legend>Targets</legend>
        ${
          options.targets.length === 0
            ? html`<p class="hint">No targets yet. <a href="/targets/new">Make one</a>, where an agent is connected; the certificate can also be mapped to it later. Until then no agent makes its key.</p>`
            : html`<div class="choices">${options.targets.map(({ value, label }) =>
                checkBox({
                  id: `target-${value}`,
                  name: "target_ids",
                  value,
                  label,
                  checked: targetIds.includes(value),
                }),
              )}</div>`
        }
        ${errors.target_ids ? html`<p class="field-error">${errors.target_ids}</p>` : null}
      </fieldset>
      <div class="form-end">
        ${checkBox({ id: "issue_now", name: "issue_now", value: "true", label: "Issue and deploy now", checked: issueNow })}
        <div class="form-actions"><a class="button" href="/certificates">Cancel</a><button class="button primary">Create certificate</button></div>
      </div>
    </form>`,
  )
}
