/** Prepared queries for the few paths where building the SQL costs more than running it. Say the measurement where you use it. */

import type { Query } from "./db"

interface Preparable<R> {
  prepare(name?: string): { execute(values?: Record<string, unknown>): Promise<R> }
}

/**
 * Builds the query once per handle (SQLite has one reader and one writer, PostgreSQL one handle per connection) and runs it with
 * the values of its `sql.placeholder()`s. `name` makes PostgreSQL prepare it on the server.
 *
 * @example
 * const byId = hot("certificate_by_id", (q: Query) => q.select().from(t.certificates).where(eq(t.certificates.id, sql.placeholder("id"))))
 * const rows = await byId(db.read, { id })
 */
export const hot = <H extends Query, R>(name: string, build: (handle: H) => Preparable<R>) => {
  const prepared = new WeakMap<H, ReturnType<Preparable<R>["prepare"]>>()
  return (handle: H, values?: Record<string, unknown>): Promise<R> => {
    let query = prepared.get(handle)
    if (query === undefined) {
      query = build(handle).prepare(name)
      prepared.set(handle, query)
    }
    return query.execute(values)
  }
}
