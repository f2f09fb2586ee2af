/** What the search over everything finds, in the order in which results of equal worth are shown. */
import { type SearchedKindName, searchedKindNames } from "../db/searched-kinds"

/** Found by their whole id, beside the kinds of the text index; a version also by serial number and fingerprint. */
const idKinds = ["version", "job", "approval", "notification", "audit_event"] as const

export const searchKinds = [...searchedKindNames, ...idKinds] as const
export type SearchKind = (typeof searchKinds)[number]
export type IdKind = (typeof idKinds)[number]

export const isIndexed = (kind: SearchKind): kind is SearchedKindName => searchedKindNames.some((name) => name === kind)

export const isKind = (name: string): name is SearchKind => searchKinds.some((kind) => kind === name)
