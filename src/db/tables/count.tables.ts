/** How many rows there are of what, so that no list has to count them. Triggers write it: see ../counted-lists.ts. */
import { sql } from "drizzle-orm"
import type { Kit } from "../kit"

export const countTables = (k: Kit) => {
  const rowCounts = k.table(
    "row_counts",
    {
      /** Which list, and by which of its dimensions. */
      list: k.text("list").notNull(),
      /** Days since 1970-01-01, UTC; 0 where a list is not counted by day. */
      day: k.int("day").notNull(),
      d1: k.text("d1").notNull(),
      d2: k.text("d2").notNull(),
      d3: k.text("d3").notNull(),
      d4: k.text("d4").notNull(),
      d5: k.text("d5").notNull(),
      d6: k.text("d6").notNull(),
      /** 0, or the number of a change that is not added to it yet. Only PostgreSQL, with its many writers, has those. */
      part: k.int("part").notNull(),
      n: k.int("n").notNull(),
    },
    (t) => [
      k.primaryKey({ columns: [t.list, t.day, t.d1, t.d2, t.d3, t.d4, t.d5, t.d6, t.part] }),
      k.index("idx_row_counts_part").on(t.part).where(sql`part <> 0`),
    ],
  )
  return { rowCounts }
}
