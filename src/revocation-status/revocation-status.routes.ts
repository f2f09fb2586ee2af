/** What administrators see of the revocation lists, below /api/v1/admin/crl. */
import { Hono } from "hono"
import * as v from "valibot"
import { type ApiEnv, operation } from "../server/operation"
import { requiredTime, WireTime, withoutAbsent } from "../server/wire"
import type { CrlService } from "./crl.service"

const shownGenerations = 10

const CacheRow = v.pipe(
  v.object({
    issuer_id: v.string(),
    cache_present: v.boolean(),
    crl_number: v.optional(v.number()),
    this_update: v.optional(WireTime),
    next_update: v.optional(WireTime),
    generated_at: v.optional(WireTime),
    generation_duration_ms: v.optional(v.number()),
    revoked_count: v.optional(v.number()),
    is_stale: v.optional(v.boolean()),
    recent_events: v.optional(
      v.array(
        v.object({
          started_at: WireTime,
          duration_ms: v.number(),
          succeeded: v.boolean(),
          crl_number: v.number(),
          revoked_count: v.number(),
          error: v.optional(v.string()),
        }),
      ),
    ),
  }),
  v.metadata({ ref: "CrlCacheRow" }),
)

type Overview = Awaited<ReturnType<CrlService["overview"]>>["rows"][number]

const cacheRow = ({ issuerId, list, isStale, generations }: Overview) =>
  withoutAbsent({
    issuer_id: issuerId,
    cache_present: list !== null,
    ...(list === null
      ? {}
      : {
          crl_number: list.crlNumber,
          this_update: requiredTime(list.thisUpdate),
          next_update: requiredTime(list.nextUpdate),
          generated_at: requiredTime(list.generatedAt),
          generation_duration_ms: list.generationDurationMs,
          revoked_count: list.revokedCount,
          is_stale: isStale,
        }),
    recent_events: generations.map((event) =>
      withoutAbsent({
        started_at: requiredTime(event.startedAt),
        duration_ms: event.durationMs,
        succeeded: event.succeeded,
        crl_number: event.crlNumber,
        revoked_count: event.revokedCount,
        error: event.error,
      }),
    ),
  })

export const revocationStatusRoutes = (crls: Pick<CrlService, "overview">) =>
  new Hono<ApiEnv>().get(
    "/cache",
    operation({
      id: "get_crl_cache",
      summary: "Show the signed revocation lists and their last generations",
      role: "admin",
      returns: v.object({
        cache_rows: v.array(CacheRow),
        row_count: v.pipe(v.number(), v.integer()),
        generated_at: WireTime,
      }),
    }),
    async (c) => {
      const { rows, at } = await crls.overview(shownGenerations)
      return c.json({ cache_rows: rows.map(cacheRow), row_count: rows.length, generated_at: requiredTime(at) })
    },
  )
