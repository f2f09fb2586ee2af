/** The search over everything on the wire. */
import * as v from "valibot"
import { documentedAs, documentedLoosely } from "../server/json-schema"
import { withoutAbsent } from "../server/wire"
import { countedTo, type SearchHit, type SearchResult } from "./search.service"
import { isKind, type SearchKind, searchKinds } from "./search-kinds"

const defaultLimit = 5
const mostPerKind = 50

export const SearchQuery = v.object({
  q: v.pipe(
    v.string(),
    documentedAs({ type: "string", minLength: 1, pattern: "\\S" }),
    v.check((text) => text.trim() !== "", "is required"),
    v.maxLength(255),
    v.description("Text, id, serial number or fingerprint"),
  ),
  kinds: v.optional(
    v.pipe(
      v.string(),
      documentedAs({ type: "string", description: `Comma list of ${searchKinds.join(", ")}; all without it` }),
      v.transform((text) =>
        text
          .split(",")
          .map((name) => name.trim())
          .filter(isKind),
      ),
    ),
  ),
  limit: v.optional(
    v.pipe(
      v.string(),
      documentedLoosely({ type: "integer", minimum: 1, maximum: mostPerKind, description: "Results of each kind" }),
      v.transform((text) => {
        const limit = /^\d{1,9}$/.test(text) ? Number(text) : 0
        return limit >= 1 && limit <= mostPerKind ? limit : defaultLimit
      }),
    ),
    String(defaultLimit),
  ),
})

/** Kinds that have a page for each row in the console; the others are shown in their list. */
const pages: Readonly<Partial<Record<SearchKind, string>>> = {
  certificate: "/certificates",
  agent: "/agents",
  target: "/targets",
  issuer: "/issuers",
  policy: "/policies",
  agent_group: "/agent-groups",
  job: "/jobs",
  approval: "/approvals",
}

const lists: Readonly<Partial<Record<SearchKind, string>>> = {
  discovered_certificate: "/discovery",
  owner: "/owners",
  team: "/teams",
  profile: "/profiles",
  renewal_policy: "/renewal-policies",
  health_check: "/health-monitor",
  notification: "/notifications",
  audit_event: "/audit",
}

/** Path of the console page that shows the row. */
export const searchHitUrl = ({ kind, id, certificateId }: Pick<SearchHit, "kind" | "id" | "certificateId">): string => {
  if (kind === "version") return `/certificates/${encodeURIComponent(certificateId ?? id)}`
  const page = pages[kind]
  return page === undefined
    ? `${lists[kind] ?? "/search"}?q=${encodeURIComponent(id)}`
    : `${page}/${encodeURIComponent(id)}`
}

const SearchHitAnswer = v.pipe(
  v.object({
    kind: v.picklist(searchKinds),
    id: v.string(),
    title: v.string(),
    subtitle: v.string(),
    status: v.optional(v.string()),
    certificate_id: v.optional(v.pipe(v.string(), v.description("Of a version"))),
    url: v.pipe(v.string(), v.description("Path of the console's page that shows it")),
    match: v.pipe(
      v.picklist(["exact", "prefix", "substring"]),
      v.description("The field is the text, begins with it, or has it somewhere"),
    ),
    field: v.pipe(v.string(), v.description("The field that matches best")),
  }),
  v.metadata({ ref: "SearchHit" }),
)

const count = v.pipe(v.number(), v.integer())

export const SearchAnswer = v.object({
  data: v.pipe(v.array(SearchHitAnswer), v.description("Best match first")),
  total_by_kind: v.pipe(
    v.record(v.string(), count),
    v.description("Rows that match, of each kind that has any; counted up to counted_to"),
  ),
  counted_to: count,
})

export const searchAnswer = ({ hits, totals }: SearchResult) => ({
  data: hits.map((hit) =>
    withoutAbsent({
      kind: hit.kind,
      id: hit.id,
      title: hit.title,
      subtitle: hit.subtitle,
      status: hit.status,
      certificate_id: hit.certificateId,
      url: searchHitUrl(hit),
      match: hit.match,
      field: hit.field,
    }),
  ),
  total_by_kind: Object.fromEntries(totals),
  counted_to: countedTo,
})
