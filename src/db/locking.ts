/** Row locks that only one of the dialects has. */

interface Lockable {
  for(strength: "no key update" | "key share"): unknown
}

/**
 * Locks the rows a query reads until the transaction ends, but not against new rows that refer to them: inserting one takes
 * a key-share lock, which a plain `for update` would keep waiting, and each other in a deadlock. SQLite runs transactions one by one and needs none: its builder
 * has no such method, and the query comes back as it is.
 */
export const forUpdate = <Q extends object>(query: Q): Q => {
  if (!("for" in query)) return query
  ;(query as unknown as Lockable).for("no key update")
  return query
}

/** Keeps the rows a query reads from being deleted until the transaction ends; they may be changed. SQLite needs no lock. */
export const keepUndeleted = <Q extends object>(query: Q): Q => {
  if (!("for" in query)) return query
  ;(query as unknown as Lockable).for("key share")
  return query
}
