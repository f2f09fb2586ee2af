/** What administrators see and do about EST, below /api/v1/admin/est. */
import { Hono } from "hono"
import * as v from "valibot"
import { type ApiEnv, input, operation } from "../server/operation"
import { requiredTime, WireTime, withoutAbsent } from "../server/wire"
import { type EstProfile, type EstService, estCounters } from "./est.service"

const dayMs = 86_400_000
const Count = v.pipe(v.number(), v.integer())

const TrustAnchor = v.object({
  subject: v.string(),
  not_before: WireTime,
  not_after: WireTime,
  days_to_expiry: Count,
  expired: v.boolean(),
})

const ProfileRow = v.pipe(
  v.object({
    path_id: v.string(),
    issuer_id: v.string(),
    profile_id: v.optional(v.string()),
    counters: v.object(Object.fromEntries(estCounters.map((name) => [name, Count]))),
    mtls_enabled: v.boolean(),
    basic_auth_configured: v.boolean(),
    server_keygen_enabled: v.boolean(),
    trust_anchors: v.optional(v.array(TrustAnchor)),
    trust_anchor_path: v.optional(v.string()),
    now: WireTime,
  }),
  v.metadata({ ref: "EstProfile" }),
)

const profileRow = ({ pathId, issuerId, profileId, counters, trust, password }: EstProfile, now: Date) =>
  withoutAbsent({
    path_id: pathId,
    issuer_id: issuerId,
    profile_id: profileId,
    counters,
    mtls_enabled: trust !== null,
    basic_auth_configured: password !== null,
    server_keygen_enabled: false,
    trust_anchors:
      trust?.anchors().map(({ subject, notBefore, notAfter }) => ({
        subject,
        not_before: requiredTime(notBefore),
        not_after: requiredTime(notAfter),
        days_to_expiry: Math.floor((notAfter.getTime() - now.getTime()) / dayMs),
        expired: notAfter <= now,
      })) ?? null,
    trust_anchor_path: trust?.path ?? null,
    now: requiredTime(now),
  })

export const estAdminRoutes = (est: EstService) =>
  new Hono<ApiEnv>()
    .get(
      "/profiles",
      operation({
        id: "list_est_profiles",
        summary: "Show the EST profiles and what happened at them since this server started",
        role: "admin",
        returns: v.object({ profiles: v.array(ProfileRow), profile_count: Count, generated_at: WireTime }),
      }),
      (c) => {
        const now = est.now()
        const rows = est.all().map((profile) => profileRow(profile, now))
        return c.json({ profiles: rows, profile_count: rows.length, generated_at: requiredTime(now) })
      },
    )
    .post(
      "/reload-trust",
      operation({
        id: "reload_est_trust",
        summary: "Read an EST profile's trust bundle again",
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
        const at = await est.reloadTrust(path_id, c.get("actor"))
        return c.json({ reloaded: true, path_id, reloaded_at: requiredTime(at) })
      },
    )
