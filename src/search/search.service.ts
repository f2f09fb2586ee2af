/** One search over everything: which rows have a text, the best first. */
import { type SearchDoc, searchText } from "../db/search-index"
import { type SearchedKind, type SearchedKindName, searchedKinds } from "../db/searched-kinds"
import { type Described, type SearchStore, withoutZeros } from "./search.store"
import { type IdKind, isIndexed, type SearchKind, searchKinds } from "./search-kinds"

/** How a value matches: it is the text, begins with it, or has it somewhere. */
export type Match = "exact" | "prefix" | "substring"

export interface SearchHit extends Described {
  readonly kind: SearchKind
  /** Name on the wire of the field that matches best. */
  readonly field: string
  readonly match: Match
}

export interface SearchResult {
  readonly hits: SearchHit[]
  /** Rows that match, of each kind that has any; counted up to `countedTo`. */
  readonly totals: ReadonlyMap<SearchKind, number>
}

/** More rows of a kind than this are neither counted nor ranked: the newest are. */
export const countedTo = 100

interface Found {
  readonly kind: SearchKind
  readonly id: string
  readonly field: string
  readonly match: Match
}

const matches: readonly Match[] = ["exact", "prefix", "substring"]
/** What names one row and no other counts more than what several may have. */
const naming = ["id", "serial_number", "fingerprint_sha256"]
const worth = ({ match, field }: Found): number => matches.indexOf(match) * 2 + (naming.includes(field) ? 0 : 1)

/** A serial number or fingerprint as people write them, without separators; null when the text is neither. */
const digitsIn = (text: string): string | null => {
  const digits = text.replace(/[:\s-]/g, "")
  return /^[0-9a-f]{1,64}$/.test(digits) ? digits : null
}

const matchOf = (value: string, texts: readonly string[]): Match | null => {
  if (texts.includes(value)) return "exact"
  if (texts.some((text) => value.startsWith(text))) return "prefix"
  return texts.some((text) => value.includes(text)) ? "substring" : null
}

const fieldsOf = (kind: SearchedKindName): string[] => {
  const { columns, lists = [] }: SearchedKind = searchedKinds[kind]
  return ["id", ...columns, ...lists]
}

/** The best match among the values of a row; those after the last field belong to it, since it is a list. */
const bestOf = ({ kind, id, values }: SearchDoc, texts: readonly string[]): Found | null => {
  const fields = fieldsOf(kind)
  const found = values.flatMap((value, place): Found[] => {
    const field = fields[Math.min(place, fields.length - 1)] ?? "id"
    const isSerial = field === "serial_number"
    const match = matchOf(isSerial ? withoutZeros(value) : value, isSerial ? texts.map(withoutZeros) : texts)
    return match === null ? [] : [{ kind, id, field, match }]
  })
  return found.sort((a, b) => worth(a) - worth(b))[0] ?? null
}

interface Deps {
  search: SearchStore
}

export const searchService = ({ search }: Deps) => {
  const inIndexed = async (kind: SearchedKindName, text: string, limit: number): Promise<Found[]> => {
    const digits = kind === "discovered_certificate" ? digitsIn(text) : null
    const serial = digits === null ? text : withoutZeros(digits)
    const [anywhere, asNumber] = await Promise.all([
      search.find(kind, text, countedTo),
      serial === text ? [] : search.find(kind, serial, countedTo),
    ])
    const isCut = anywhere.length === countedTo
    const fromStart = isCut || text.length < 3 ? await search.findFromStart(kind, text, limit) : []
    const docs = new Map([...fromStart, ...anywhere, ...asNumber].map((doc) => [doc.id, doc]))
    return [...docs.values()].flatMap((doc) => bestOf(doc, serial === text ? [text] : [text, serial]) ?? [])
  }

  const byId = async (kinds: readonly SearchKind[], ids: readonly string[]): Promise<Found[]> => {
    const exact = (kind: SearchKind, id: string): Found => ({ kind, id, field: "id", match: "exact" })
    const others = kinds.filter((kind): kind is IdKind => !isIndexed(kind))
    const [indexed, ...rest] = await Promise.all([
      search.findIds(kinds.filter(isIndexed), ids),
      ...others.map(async (kind) => (await search.existing(kind, ids)).map((id) => exact(kind, id))),
    ])
    return [...indexed.map(({ kind, id }) => exact(kind, id)), ...rest.flat()]
  }

  const certificatesNamed = async (names: readonly string[], limit: number): Promise<Found[]> =>
    (await search.certificatesNamed(names, limit)).map(({ id, values }) => ({
      kind: "certificate",
      id,
      field: names.includes(values[1] ?? "") ? "name" : "common_name",
      match: "exact",
    }))

  const versionsByNumber = async (digits: string, limit: number): Promise<Found[]> =>
    (await search.versionsByNumber(digits, limit)).map(({ id, serialNumber, fingerprintSha256 }) => {
      const isFingerprint = fingerprintSha256.startsWith(digits)
      const isWhole = isFingerprint ? fingerprintSha256 === digits : withoutZeros(serialNumber) === withoutZeros(digits)
      return {
        kind: "version",
        id,
        field: isFingerprint ? "fingerprint_sha256" : "serial_number",
        match: isWhole ? "exact" : "prefix",
      }
    })

  return {
    /**
     * @param typed at least one character
     * @param kinds those to look in
     * @param limit results of each kind
     */
    async find(typed: string, kinds: readonly SearchKind[], limit: number): Promise<SearchResult> {
      const text = searchText(typed)
      if (text === "") return { hits: [], totals: new Map() }
      const names = [...new Set([typed.trim(), text])]
      const digits = digitsIn(text)
      const found = (
        await Promise.all([
          byId(kinds, names),
          kinds.includes("certificate") ? certificatesNamed(names, limit) : [],
          digits !== null && kinds.includes("version") ? versionsByNumber(digits, limit) : [],
          ...kinds.filter(isIndexed).map((kind) => inIndexed(kind, text, limit)),
        ])
      ).flat()

      const best = new Map<string, Found>()
      for (const one of found) {
        const key = `${one.kind} ${one.id}`
        const before = best.get(key)
        if (before === undefined || worth(one) < worth(before)) best.set(key, one)
      }
      const groups = Object.groupBy([...best.values()], ({ kind }) => kind)
      const ranked = searchKinds.flatMap((kind) =>
        (groups[kind] ?? []).sort((a, b) => worth(a) - worth(b)).slice(0, limit),
      )
      const described = new Map(
        (
          await Promise.all(
            searchKinds.map(async (kind) => {
              const ids = ranked.flatMap((one) => (one.kind === kind ? [one.id] : []))
              return (await search.describe(kind, ids)).map((row) => [`${kind} ${row.id}`, row] as const)
            }),
          )
        ).flat(),
      )
      return {
        // What is gone in the meantime has no description.
        hits: ranked
          .flatMap((one): SearchHit[] => {
            const row = described.get(`${one.kind} ${one.id}`)
            return row === undefined ? [] : [{ ...row, ...one }]
          })
          .sort((a, b) => worth(a) - worth(b)),
        totals: new Map(
          searchKinds.flatMap((kind): [SearchKind, number][] => {
            const count = Math.min(groups[kind]?.length ?? 0, countedTo)
            return count === 0 ? [] : [[kind, count]]
          }),
        ),
      }
    },
  }
}

export type SearchService = ReturnType<typeof searchService>
