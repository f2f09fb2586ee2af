/** Row locks that only one of the dialects has. */

interface Lockable {
  for(strength: "update"): unknown
}

/**
 * Locks the rows a query reads until the transaction ends. SQLite runs transactions one by one and needs none: its builder
 * has no such method, and the query comes back as it is.
 */
export const forUpdate = <Q extends object>(query: Q): Q => {
  if (!("for" in query)) return query
  ;(query as unknown as Lockable).for("update")
  return query
}
