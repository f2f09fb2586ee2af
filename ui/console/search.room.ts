/** The search over everything. */
import { Hono } from "hono"
import { searchHitUrl } from "../../src/search/search.schema"
import { countedTo, type SearchHit } from "../../src/search/search.service"
import { isKind, type SearchKind, searchKinds } from "../../src/search/search-kinds"
import type { ApiEnv } from "../../src/server/operation"
import { type SearchGroup, searchPage } from "../pages/search.page"
import type { IconName } from "../parts/icon"
import { type ConsoleDeps, frameOf, page, queryOf } from "./room"

const perKind = 8
const mostOfOneKind = 50
const longest = 255

const looks: Readonly<Record<SearchKind, { label: string; icon: IconName }>> = {
  certificate: { label: "Certificates", icon: "certificate" },
  version: { label: "Issued versions", icon: "certificate" },
  discovered_certificate: { label: "Discovered certificates", icon: "search" },
  agent: { label: "Agents", icon: "agent" },
  target: { label: "Targets", icon: "target" },
  issuer: { label: "Issuers", icon: "issuer" },
  owner: { label: "Owners", icon: "owner" },
  team: { label: "Teams", icon: "team" },
  profile: { label: "Profiles", icon: "profile" },
  policy: { label: "Policies", icon: "policy" },
  renewal_policy: { label: "Renewal policies", icon: "refresh" },
  agent_group: { label: "Agent groups", icon: "group" },
  health_check: { label: "Health checks", icon: "clock" },
  job: { label: "Jobs", icon: "job" },
  approval: { label: "Approvals", icon: "approval" },
  notification: { label: "Notifications", icon: "notification" },
  audit_event: { label: "Audit events", icon: "audit" },
}

/** What the badges call it. */
const shownStatus = ({ kind, status }: SearchHit): string | null => {
  if (status === "enabled") return null
  if (status === "disabled" || status === "retired") return status === "disabled" ? "Disabled" : "Retired"
  return kind === "approval" || kind === "notification" ? `${kind}-${status}` : status
}

export const searchRoom = (deps: ConsoleDeps) =>
  new Hono<ApiEnv>().get("/search", async (c) => {
    const query = queryOf(c)
    const text = (query.get("q") ?? "").trim().slice(0, longest)
    const only = query.get("kind") ?? ""
    const kinds = isKind(only) ? [only] : searchKinds
    const limit = isKind(only) ? mostOfOneKind : perKind
    const [frame, { hits, totals }] = await Promise.all([frameOf(deps, c), deps.search.find(text, kinds, limit)])
    const moreOf = (kind: SearchKind): string =>
      kind === "certificate"
        ? `/certificates?${new URLSearchParams({ search: text })}`
        : `/search?${new URLSearchParams({ q: text, kind })}`
    const groupOf = (kind: SearchKind): SearchGroup => {
      const rows = hits.filter((hit) => hit.kind === kind)
      const total = totals.get(kind) ?? 0
      return {
        kind,
        ...looks[kind],
        rows: rows.map((hit) => ({
          id: hit.id,
          title: hit.title,
          subtitle: hit.subtitle,
          status: shownStatus(hit),
          href: searchHitUrl(hit),
          isExact: hit.match === "exact",
        })),
        total,
        moreHref: total > rows.length && !isKind(only) ? moreOf(kind) : null,
      }
    }
    // The kind of the best match comes first.
    const found = [...new Set(hits.map(({ kind }) => kind))]
    return page(c, searchPage({ frame, text, groups: found.map(groupOf), countedTo }))
  })
