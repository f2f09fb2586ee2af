/** What administrators see and do about SCEP, below /api/v1/admin/scep. */
import { Hono } from "hono"
import * as v from "valibot"
import { type ApiEnv, input, operation } from "../server/operation"
import { requiredTime, WireTime, withoutAbsent } from "../server/wire"
import type { RegistrationAuthority } from "./registration-authority.service"
import type { ScepService } from "./scep.service"
import { type ScepProfile, scepCounters } from "./scep-profile"

const dayMs = 86_400_000
const Count = v.pipe(v.number(), v.integer())

const ProfileRow = v.pipe(
  v.object({
    path_id: v.string(),
    issuer_id: v.string(),
    profile_id: v.optional(v.string()),
    challenge_password_set: v.boolean(),
    ra_cert_subject: v.optional(v.string()),
    ra_cert_not_before: v.optional(WireTime),
    ra_cert_not_after: v.optional(WireTime),
    /** 0 without an RA. */
    ra_cert_days_to_expiry: Count,
    ra_cert_expired: v.boolean(),
    mtls_enabled: v.boolean(),
    mtls_trust_bundle_path: v.optional(v.string()),
    counters: v.object(Object.fromEntries(scepCounters.map((name) => [name, Count]))),
    generated_at: WireTime,
  }),
  v.metadata({ ref: "ScepProfile" }),
)

const profileRow = (profile: ScepProfile, ra: RegistrationAuthority | null, now: Date) => {
  const { pathId, issuerId, profileId, challengePassword, trust, counters } = profile
  const certificate = ra?.certificate ?? null
  return withoutAbsent({
    path_id: pathId,
    issuer_id: issuerId,
    profile_id: profileId,
    challenge_password_set: challengePassword !== "",
    ra_cert_subject: certificate?.subjectDn ?? null,
    ra_cert_not_before: certificate === null ? null : requiredTime(certificate.notBefore),
    ra_cert_not_after: certificate === null ? null : requiredTime(certificate.notAfter),
    ra_cert_days_to_expiry:
      certificate === null ? 0 : Math.floor((certificate.notAfter.getTime() - now.getTime()) / dayMs),
    ra_cert_expired: certificate !== null && certificate.notAfter <= now,
    mtls_enabled: trust !== null,
    mtls_trust_bundle_path: trust?.path ?? null,
    counters,
    generated_at: requiredTime(now),
  })
}

export const scepAdminRoutes = (scep: ScepService) =>
  new Hono<ApiEnv>()
    .get(
      "/profiles",
      operation({
        id: "list_scep_profiles",
        summary: "Show the SCEP profiles and what happened at them since this server started",
        role: "admin",
        returns: v.object({ profiles: v.array(ProfileRow), profile_count: Count, generated_at: WireTime }),
      }),
      async (c) => {
        const now = scep.now()
        const rows = await Promise.all(
          scep.all().map(async (profile) => profileRow(profile, await scep.registrationAuthority(profile), now)),
        )
        return c.json({ profiles: rows, profile_count: rows.length, generated_at: requiredTime(now) })
      },
    )
    .post(
      "/reload-trust",
      operation({
        id: "reload_scep_trust",
        summary: "Read a SCEP profile's trust bundle again",
        role: "admin",
        returns: v.object({ reloaded: v.boolean(), path_id: v.string(), reloaded_at: WireTime }),
        errors: {
          404: "There is no such profile",
          409: "The profile takes no client certificates",
          500: "The file is bad; what was trusted before stays trusted",
        },
      }),
      input("json", v.object({ path_id: v.optional(v.string(), "") })),
      async (c) => {
        const { path_id } = c.req.valid("json")
        const at = await scep.reloadTrust(path_id, c.get("actor"))
        return c.json({ reloaded: true, path_id, reloaded_at: requiredTime(at) })
      },
    )
