/**
 * What text search finds. The triggers of both dialects are made from this and keep `search_docs` up to date with every insert,
 * update and delete; a changed entry is indexed anew at the next start.
 */

export interface SearchedKind {
  /** Name in SQL, as are the columns. Each has a primary key `id`. */
  readonly table: string
  /** Searched beside the id. */
  readonly columns: readonly string[]
  /** Columns that hold a JSON list of texts, each of which is searched. */
  readonly lists?: readonly string[]
  /** When rows came into being: rows that are there already are indexed in this order. */
  readonly time: string
  /** There may be a million: SQLite looks them up in an FTS5 index of their own instead of reading their texts. */
  readonly isBig?: boolean
}

export const searchedKinds = {
  certificate: {
    table: "managed_certificates",
    columns: ["name", "common_name"],
    lists: ["sans"],
    time: "created_at",
    isBig: true,
  },
  discovered_certificate: {
    table: "discovered_certificates",
    columns: ["common_name", "subject_dn", "issuer_dn", "serial_number", "fingerprint_sha256", "source_path"],
    lists: ["sans"],
    time: "created_at",
    isBig: true,
  },
  agent: { table: "agents", columns: ["name", "hostname", "ip_address"], time: "registered_at" },
  target: { table: "deployment_targets", columns: ["name", "type"], time: "created_at" },
  issuer: { table: "issuers", columns: ["name", "type"], time: "created_at" },
  owner: { table: "owners", columns: ["name", "email"], time: "created_at" },
  team: { table: "teams", columns: ["name"], time: "created_at" },
  profile: { table: "certificate_profiles", columns: ["name"], time: "created_at" },
  policy: { table: "policy_rules", columns: ["name"], time: "created_at" },
  renewal_policy: { table: "renewal_policies", columns: ["name"], time: "created_at" },
  agent_group: { table: "agent_groups", columns: ["name"], time: "created_at" },
  health_check: { table: "endpoint_health_checks", columns: ["endpoint"], time: "created_at" },
} as const satisfies Readonly<Record<string, SearchedKind>>

export type SearchedKindName = keyof typeof searchedKinds

export const searchedKindNames = Object.keys(searchedKinds) as SearchedKindName[]

const isBig = (kind: SearchedKindName): boolean => (searchedKinds[kind] as SearchedKind).isBig === true

export const bigKindNames = searchedKindNames.filter(isBig)

/** SQLite's index of a big kind. One for all would make every search of a kind walk through the rows of the others. */
export const ftsTableOf = (kind: SearchedKindName): string => `search_fts_${kind}`

/** Rows that a kind may have in its life. */
const bandWidth = 2 ** 40

/** `doc` of a kind's rows is above `from` and at most `to`. The place in the list above is stored with them: add kinds at the end. */
export const docsOf = (kind: SearchedKindName): { from: number; to: number } => {
  const from = searchedKindNames.indexOf(kind) * bandWidth
  return { from, to: from + bandWidth - 1 }
}
