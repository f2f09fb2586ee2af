/** Finds rows by any part of their text, over the index that search-triggers.ts keeps. */
import { and, desc, gt, inArray, lte, or, type SQL, sql } from "drizzle-orm"
import type { Db } from "./db"
import { bigKindNames, docsOf, ftsTableOf, type SearchedKindName } from "./searched-kinds"

export interface SearchDoc {
  readonly kind: SearchedKindName
  readonly id: string
  /** In the order of `searchedKinds`, the id first; lower case. */
  readonly values: readonly string[]
}

/** The index knows pieces of three characters: nothing shorter can be looked up. */
const shortest = 3

const isBig = (kind: SearchedKindName): boolean => bigKindNames.includes(kind)

/** In lower case, on one line, without blanks around it. */
export const searchText = (typed: string): string =>
  typed
    .replace(/[\0\r\n\t]+/g, " ")
    .trim()
    .toLowerCase()

export const searchIndex = ({ t, read, scan, dialect }: Pick<Db, "t" | "read" | "scan" | "dialect">) => {
  const { doc, kind: kindColumn, id, text: textColumn } = t.searchDocs

  const holds = (kind: SearchedKindName, part: string, limit: number): SQL | undefined => {
    const { from, to } = docsOf(kind)
    const pattern = `%${part.replace(/[\\%_]/g, "\\$&")}%`
    const hasPart = sql`${textColumn} like ${pattern} escape '\\'`
    if (dialect === "sqlite" && isBig(kind)) {
      const fts = sql.raw(ftsTableOf(kind))
      const phrase = `"${part.replaceAll('"', '""')}"`
      const indexed = sql`${doc} in (select rowid from ${fts} where text match ${phrase} order by rowid desc limit ${limit})`
      const recent = sql`${doc} > (select ${t.searchMarks.doc} from ${t.searchMarks} where ${t.searchMarks.kind} = ${kind})`
      return or(indexed, and(recent, lte(doc, to), hasPart))
    }
    return and(gt(doc, from), lte(doc, to), hasPart)
  }

  const columns = { kind: kindColumn, id, text: textColumn }
  const docOf = ({ kind, id: rowId, text }: { kind: string; id: string; text: string }): SearchDoc => ({
    kind: kind as SearchedKindName,
    id: rowId,
    values: text.split("\n").slice(1, -1),
  })

  const find = async (kind: SearchedKindName, part: string, limit: number): Promise<SearchDoc[]> => {
    if (Array.from(part).length < shortest) return []
    const rows = await scan
      .select(columns)
      .from(t.searchDocs)
      .where(holds(kind, part, limit))
      .orderBy(desc(doc))
      .limit(limit)
    return rows.map(docOf)
  }

  return {
    /** Rows that have the text anywhere, newest first. None for texts of fewer than three characters. */
    find,

    /**
     * Rows with a value that is the text, or begins with it, newest first: for kinds of which `find` did not see all.
     * PostgreSQL's index knows nothing of places and would have every row read: there, only kinds of which there are few.
     */
    async findFromStart(kind: SearchedKindName, text: string, limit: number): Promise<SearchDoc[]> {
      if (dialect === "postgres" && isBig(kind)) return []
      const [whole, begun] = await Promise.all([find(kind, `\n${text}\n`, limit), find(kind, `\n${text}`, limit)])
      return [...whole, ...begun]
    },

    /** Rows that have one of the ids. */
    async findIds(kinds: readonly SearchedKindName[], ids: readonly string[]): Promise<SearchDoc[]> {
      if (kinds.length === 0) return []
      const rows = await read
        .select(columns)
        .from(t.searchDocs)
        .where(and(inArray(kindColumn, [...kinds]), inArray(id, [...ids])))
      return rows.map(docOf)
    },

    /** The ids of all rows that have the text, unless there are more than `most`, or it is too short to look up. */
    async narrow(kind: SearchedKindName, typed: string, most: number): Promise<string[] | "many" | "short"> {
      const text = searchText(typed)
      if (Array.from(text).length < shortest) return "short"
      const rows = await scan
        .select({ id })
        .from(t.searchDocs)
        .where(holds(kind, text, most + 1))
        .limit(most + 1)
      return rows.length > most ? "many" : rows.map((row) => row.id)
    },
  }
}

export type SearchIndex = ReturnType<typeof searchIndex>
