/** Certificate profiles. */
import { Hono } from "hono"
import { NewProfileBody, ProfilePatchBody } from "../../src/profiles/profile.schema"
import type { ProfileService } from "../../src/profiles/profile.service"
import type { ApiEnv } from "../../src/server/operation"
import { parseInput } from "../../src/server/validation"
import { profileSections, profilesPage, ttlUnits } from "../pages/profiles.page"
import type { FormValues } from "../parts/fields"
import { html } from "../parts/markup"
import { durationText } from "../parts/time"
import { operators, type Resource, resourceForms, type Typed } from "./resource.room"
import { type ConsoleDeps, frameOf, listOf, page } from "./room"

type Profile = Awaited<ReturnType<ProfileService["get"]>>

const keyFields = { RSA: "key_rsa", ECDSA: "key_ecdsa" } as const

const bodyOf = (typed: Typed) => ({
  name: typed.text("name"),
  description: typed.text("description"),
  allowed_key_algorithms: [
    ...Object.entries(keyFields)
      .filter(([, field]) => typed.text(field) !== "")
      .map(([algorithm, field]) => ({ algorithm, min_size: typed.number(field) })),
    ...(typed.isTicked("key_ed25519") ? [{ algorithm: "Ed25519" }] : []),
  ],
  max_ttl_seconds: typed.text("ttl") === "" ? 0 : typed.number("ttl") * typed.number("ttl_unit"),
  allow_short_lived: typed.isTicked("allow_short_lived"),
  allowed_ekus: typed.texts("allowed_ekus"),
  required_san_patterns: typed.lines("required_san_patterns"),
  spiffe_uri_pattern: typed.text("spiffe_uri_pattern"),
  required_csr_attributes: typed.lines("required_csr_attributes"),
  requires_approval: typed.isTicked("requires_approval"),
  must_staple: typed.isTicked("must_staple"),
  acme_auth_mode: typed.text("acme_auth_mode"),
  enabled: typed.isTicked("enabled"),
})

/** The largest unit that leaves a whole number. */
const ttlOf = (seconds: number): { ttl: string; ttl_unit: string } => {
  const unit = ttlUnits.findLast(({ value }) => seconds % Number(value) === 0)?.value ?? "60"
  return { ttl: seconds === 0 ? "" : String(seconds / Number(unit)), ttl_unit: seconds === 0 ? "86400" : unit }
}

const valuesOf = (profile: Profile): FormValues => {
  const size = (algorithm: string): string => {
    const rule = profile.allowedKeyAlgorithms.find((one) => one.algorithm === algorithm)
    return rule === undefined ? "" : String(rule.min_size)
  }
  return {
    name: profile.name,
    description: profile.description,
    key_rsa: size("RSA"),
    key_ecdsa: size("ECDSA"),
    key_ed25519: String(size("Ed25519") !== ""),
    ...ttlOf(profile.maxTtlSeconds),
    allow_short_lived: String(profile.allowShortLived),
    allowed_ekus: profile.allowedEkus,
    required_san_patterns: profile.requiredSanPatterns.join("\n"),
    spiffe_uri_pattern: profile.spiffeUriPattern,
    required_csr_attributes: profile.requiredCsrAttributes.join("\n"),
    requires_approval: String(profile.requiresApproval),
    must_staple: String(profile.mustStaple),
    acme_auth_mode: profile.acmeAuthMode ?? "",
    enabled: String(profile.enabled),
  }
}

export const profilesRoom = (deps: ConsoleDeps) => {
  const { profiles, inventory } = deps

  const resource: Resource = {
    path: "/profiles",
    noun: "profile",
    label: "Profiles",
    gate: operators,
    hasPage: false,
    fieldOf: {
      max_ttl_seconds: "ttl",
      allowed_key_algorithms: "key_rsa",
    },
    preset: () => ({
      key_ecdsa: "256",
      key_rsa: "2048",
      ttl_unit: "86400",
      allowed_ekus: ["serverAuth"],
      enabled: "true",
    }),
    sections: async () => profileSections,
    async find(id) {
      const profile = await profiles.get(id)
      return { name: profile.name, kind: "", values: valuesOf(profile) }
    },
    create: async (typed, _, actor) =>
      (await profiles.create(await parseInput(NewProfileBody, bodyOf(typed)), actor)).id,
    update: async (id, typed, _, actor) =>
      profiles.update(id, await parseInput(ProfilePatchBody, bodyOf(typed)), actor),
    remove: profiles.remove,
    removal: (id) =>
      html`<p><a href=${`/certificates?${new URLSearchParams({ profile_id: id })}`}>Certificates</a> that name it go on without one: nothing but their issuer limits what they may be then.</p>`,
  }

  return new Hono<ApiEnv>()
    .get("/profiles", async (c) => {
      const { state, page: number, pageSize, range } = listOf(c)
      const [frame, { rows, total }] = await Promise.all([
        frameOf(deps, c),
        profiles.list({ search: state.params.q }, range),
      ])
      const certificatesOf = await inventory.usage.certificatesOfProfiles(rows.map(({ id }) => id))
      return page(
        c,
        profilesPage({
          frame,
          state,
          paging: { page: number, pageSize, total },
          rows: rows.map((row) => ({
            id: row.id,
            name: row.name,
            description: row.description,
            keys: row.allowedKeyAlgorithms.map(({ algorithm, min_size }) =>
              algorithm === "Ed25519" ? algorithm : `${algorithm} ${min_size}+`,
            ),
            maxTtlWords: row.maxTtlSeconds === 0 ? null : durationText(row.maxTtlSeconds * 1000),
            shortLived: row.allowShortLived,
            requiresApproval: row.requiresApproval,
            mustStaple: row.mustStaple,
            ekus: row.allowedEkus,
            enabled: row.enabled,
            certificates: certificatesOf.get(row.id) ?? 0,
          })),
        }),
      )
    })
    .route("/", resourceForms(deps, resource))
}
