/** How many rows there are of what, so that no list has to count them. Triggers write both tables: see ../counted-lists.ts. */
import type { Kit } from "../kit"

export const countTables = (k: Kit) => {
  const values = () => ({
    d1: k.text("d1").notNull(),
    d2: k.text("d2").notNull(),
    d3: k.text("d3").notNull(),
    d4: k.text("d4").notNull(),
    d5: k.text("d5").notNull(),
    d6: k.text("d6").notNull(),
  })
  const rowCounts = k.table(
    "row_counts",
    {
      /** Which list, and by which of its dimensions. */
      list: k.text("list").notNull(),
      /** Days since 1970-01-01, UTC; 0 where a list is not counted by day. */
      day: k.int("day").notNull(),
      ...values(),
      n: k.int("n").notNull(),
    },
    (t) => [k.primaryKey({ columns: [t.list, t.day, t.d1, t.d2, t.d3, t.d4, t.d5, t.d6] })],
  )
  /** What is not added to the counters yet. Without further indexes: every write of a counted row adds to it, and it stays short. */
  const rowChanges = k.table("row_changes", {
    id: k.rowNumber("id"),
    /** Name of the table that was written. */
    source: k.text("source").notNull(),
    /** 1 for a row as it is now, -1 for one as it was; on PostgreSQL also several of the same at once. */
    n: k.int("n").notNull(),
    ...values(),
    /** Days since 1970-01-01, UTC. */
    day1: k.int("day1"),
    day2: k.int("day2"),
  })
  return { rowCounts, rowChanges }
}
