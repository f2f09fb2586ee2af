/** The text by which rows of other tables are found. Triggers keep it: see ../searched-kinds.ts. */
import type { Kit } from "../kit"

export const searchTables = (k: Kit) => {
  const searchDocs = k.table(
    "search_docs",
    {
      /** Grows with every row of a kind; each kind has a range of its own. */
      doc: k.int("doc").primaryKey(),
      kind: k.text("kind").notNull(),
      /** The row's id in its own table. */
      id: k.text("id").notNull(),
      /** The searched values in lower case, each between two line feeds. */
      text: k.text("text").notNull(),
    },
    (t) => [k.uniqueIndex("uq_search_docs_kind_id").on(t.kind, t.id)],
  )
  /** How far SQLite's index of a kind reaches: later texts are read. */
  const searchMarks = k.table("search_marks", {
    kind: k.text("kind").primaryKey(),
    doc: k.int("doc").notNull(),
  })
  return { searchDocs, searchMarks }
}
