/** The certificate list, and making a new one. */
import { Hono } from "hono"
import type { Actor } from "../../src/access/actor"
import { certificateSort, NewCertificateBody } from "../../src/certificates/certificate.schema"
import type { CertificateService } from "../../src/certificates/certificate.service"
import { AppError } from "../../src/errors"
import { NewOwnerBody } from "../../src/owners/owner.schema"
import type { ApiEnv } from "../../src/server/operation"
import { parseInput } from "../../src/server/validation"
import { NewTeamBody } from "../../src/teams/team.schema"
import { NEW, newCertificatePage } from "../pages/certificate-new.page"
import { type CertificateRow, certificatesPage } from "../pages/certificates.page"
import type { FieldErrors } from "../parts/fields"
import type { Option } from "../parts/form"
import { expiringMs, shownStatus } from "./certificate.loader"
import { fieldErrors } from "./field-errors"
import { allow, type ConsoleDeps, dayOf, formOf, frameOf, listOf, type PageContext, page, redirect } from "./room"

type CertificateFilter = Parameters<CertificateService["list"]>[0]
type Form = Awaited<ReturnType<typeof formOf>>

const environments = ["production", "staging", "development"]

const options = (rows: readonly { id: string; name: string }[]): Option[] =>
  rows.map(({ id, name }) => ({ value: id, label: name }))

const filterOf = (params: Readonly<Record<string, string>>, now: Date): CertificateFilter => ({
  // A status that does not exist matches nothing.
  shownStatus:
    params.status === undefined
      ? undefined
      : {
          status: params.status as CertificateRow["status"] & NonNullable<CertificateFilter["status"]>,
          now,
          expiringUntil: new Date(now.getTime() + expiringMs),
        },
  environment: params.environment,
  ownerId: params.owner_id,
  teamId: params.team_id,
  issuerId: params.issuer_id,
  profileId: params.profile_id,
  agentId: params.agent_id,
  search: params.search,
  expiresBefore: dayOf(params.expires_before),
  expiresAfter: dayOf(params.expires_after),
})

const capital = (words: string): string => words.charAt(0).toUpperCase() + words.slice(1)

/** Which field a refusal is about that names none. */
const conflictField = (message: string): string =>
  message.startsWith("a team ") ? "new_team_name" : message.startsWith("a certificate ") ? "name" : "form"

const textFields = [
  "common_name",
  "sans",
  "name",
  "issuer_id",
  "certificate_profile_id",
  "renewal_policy_id",
  "owner_id",
  "team_id",
  "new_owner_name",
  "new_owner_email",
  "new_team_name",
  "environment",
  "tags",
] as const

const lines = (text: string): string[] => text.split(/[\s,;]+/).filter((line) => line !== "")

const tagsOf = (text: string): Record<string, string> =>
  Object.fromEntries(
    text
      .split(/\r?\n/)
      .map((line) => line.trim())
      .filter((line) => line !== "")
      .map((line) => {
        const at = line.indexOf("=")
        return at === -1 ? [line, ""] : [line.slice(0, at).trim(), line.slice(at + 1).trim()]
      }),
  )

const certificateOf = (form: Form, people: { ownerId: string; teamId: string }) => {
  const commonName = form.text("common_name")
  const further = lines(form.text("sans"))
  return {
    common_name: commonName,
    // Clients look at the SANs only (RFC 9525), so the common name is one of them.
    sans: commonName === "" || further.includes(commonName) ? further : [commonName, ...further],
    name: form.text("name"),
    issuer_id: form.text("issuer_id"),
    certificate_profile_id: form.text("certificate_profile_id"),
    renewal_policy_id: form.text("renewal_policy_id"),
    owner_id: people.ownerId,
    team_id: people.teamId,
    environment: form.text("environment"),
    target_ids: form.texts("target_ids"),
    tags: tagsOf(form.text("tags")),
  }
}

export const certificatesRoom = (deps: ConsoleDeps) => {
  const { certificates, inventory, renewals, owners, teams } = deps

  const rowsOf = async (found: Awaited<ReturnType<CertificateService["list"]>>["rows"], now: Date) => {
    const [references, places] = await Promise.all([
      inventory.referencesOf(found),
      inventory.placesOf(found.map(({ id }) => id)),
    ])
    return found.map((row): CertificateRow => {
      const active = (places.get(row.id) ?? []).filter(({ target }) => !target.retired)
      const rules = {
        autoRenew: references.policies.get(row.renewalPolicyId)?.autoRenew ?? true,
        requiresApproval: references.profiles.get(row.certificateProfileId ?? "")?.requiresApproval ?? false,
      }
      return {
        id: row.id,
        name: row.name,
        commonName: row.commonName,
        sanCount: row.sans.length,
        status: shownStatus(row, now),
        environment: row.environment,
        expiresAt: row.expiresAt,
        renewal: inventory.outlookOf(row, rules, active.length > 0),
        lastRenewalAt: row.lastRenewalAt,
        lastDeploymentAt: row.lastDeploymentAt,
        proof: {
          verified: active.filter(({ served }) => served.state === "confirmed").length,
          mismatched: active.filter(({ served, delivered }) =>
            [served, delivered].some(({ state }) => state === "mismatch"),
          ).length,
          targets: active.length,
        },
        issuer: references.issuers.get(row.issuerId) ?? null,
        owner: references.owners.get(row.ownerId) ?? null,
      }
    })
  }

  const form = async (
    c: PageContext,
    shown: {
      values: Readonly<Record<string, string>>
      targetIds: readonly string[]
      issueNow: boolean
      errors: FieldErrors
    },
    status: 200 | 400 | 409 = 200,
  ) => {
    const [frame, choices, policies, targets] = await Promise.all([
      frameOf(deps, c),
      inventory.choices(),
      inventory.policyChoices(),
      inventory.targetChoices(),
    ])
    const offered = {
      issuers: options(choices.issuers),
      profiles: options(choices.profiles),
      renewalPolicies: policies.map(({ id, name, renewalWindowDays }) => ({
        value: id,
        label: `${name} (${renewalWindowDays} d window)`,
      })),
      owners: options(choices.owners),
      teams: options(choices.teams),
      targets: targets.map(({ id, name, agent }) => ({ value: id, label: `${name} on ${agent}` })),
    }
    // Where there is only one thing to choose, it is chosen.
    const only = (list: readonly Option[]): string => (list.length === 1 ? (list[0]?.value ?? "") : "")
    const preset = {
      issuer_id: only(offered.issuers),
      renewal_policy_id: only(offered.renewalPolicies),
      owner_id: only(offered.owners),
      team_id: only(offered.teams),
    }
    return page(
      c,
      newCertificatePage({ frame, options: offered, ...shown, values: { ...preset, ...shown.values } }),
      status,
    )
  }

  /** The chosen owner and team, or new ones where the form names some. What was made is put into `made` at once. */
  const peopleOf = async (submitted: Form, made: Record<string, string>, actor: Actor) => {
    const teamName = submitted.text("new_team_name")
    const ownerName = submitted.text("new_owner_name")
    const wants = (field: string, name: string) =>
      submitted.text(field) === NEW || (submitted.text(field) === "" && name !== "")
    if (wants("team_id", teamName)) {
      const team = await parsed(NewTeamBody, { name: teamName }, { name: "new_team_name" })
      made.team_id = (await teams.create(team, actor)).id
    }
    const teamId = made.team_id ?? submitted.text("team_id")
    if (wants("owner_id", ownerName)) {
      const body = { name: ownerName, email: submitted.text("new_owner_email"), team_id: teamId }
      const owner = await parsed(NewOwnerBody, body, { name: "new_owner_name", email: "new_owner_email" })
      made.owner_id = (await owners.create(owner, actor)).id
    }
    return { teamId, ownerId: made.owner_id ?? submitted.text("owner_id") }
  }

  return new Hono<ApiEnv>()
    .get("/certificates", async (c) => {
      const { state, page: number, pageSize, range } = listOf(c)
      const frame = await frameOf(deps, c)
      const [{ rows, total }, choices] = await Promise.all([
        certificates.list(filterOf(state.params, frame.now), certificateSort({ sort: state.params.sort }), range),
        inventory.choices(),
      ])
      const offered = new Set([...environments, ...rows.map(({ environment }) => environment)])
      if (state.params.environment !== undefined) offered.add(state.params.environment)
      offered.delete("")
      return page(
        c,
        certificatesPage({
          frame,
          state,
          paging: { page: number, pageSize, total },
          rows: await rowsOf(rows, frame.now),
          filters: {
            issuers: options(choices.issuers),
            owners: options(choices.owners),
            teams: options(choices.teams),
            profiles: options(choices.profiles),
            environments: [...offered].map((name) => ({ value: name, label: name })),
          },
        }),
      )
    })
    .get("/certificates/new", (c) => {
      allow(c, "operator")
      return form(c, { values: {}, targetIds: [], issueNow: true, errors: {} })
    })
    .post("/certificates", async (c) => {
      allow(c, "operator")
      const actor = c.get("actor")
      const submitted = await formOf(c)
      const issueNow = submitted.text("issue_now") === "true"
      const made: Record<string, string> = {}
      let id: string
      try {
        const people = await peopleOf(submitted, made, actor)
        const body = await parsed(NewCertificateBody, certificateOf(submitted, people))
        id = (await certificates.create(body, actor)).id
      } catch (error) {
        if (!(error instanceof AppError) || error.status >= 500) throw error
        const field = error.code === "conflict" ? conflictField(error.message) : null
        const errors =
          field === null
            ? fieldErrors(error.message, [...textFields, "target_ids"])
            : { [field]: capital(error.message) }
        const typed = Object.fromEntries(textFields.map((name) => [name, submitted.text(name)]))
        // Whoever was made on the way is now somebody to choose.
        if (made.team_id !== undefined) typed.new_team_name = ""
        if (made.owner_id !== undefined) Object.assign(typed, { new_owner_name: "", new_owner_email: "" })
        const values = { ...typed, ...made }
        const status = error.code === "conflict" ? 409 : 400
        return form(c, { values, targetIds: submitted.texts("target_ids"), issueNow, errors }, status)
      }
      if (!issueNow) return redirect(c, `/certificates/${id}`, { key: "certificate-created" })
      const { jobId } = await renewals.trigger(id, { force: false }, actor)
      return redirect(c, `/certificates/${id}`, { key: "certificate-issuing", jobId })
    })
}

/** `parseInput` with the schema's field names replaced by the form's. */
const parsed = async <S extends Parameters<typeof parseInput>[0]>(
  schema: S,
  value: unknown,
  names: Readonly<Record<string, string>> = {},
) => {
  try {
    return await parseInput(schema, value, "form")
  } catch (error) {
    if (!(error instanceof AppError) || error.code !== "validation") throw error
    const message = error.message
      .split("; ")
      .map((part) => part.replace(/^\w+/, (field) => names[field] ?? field))
      .join("; ")
    throw new AppError("validation", message, { cause: error })
  }
}
