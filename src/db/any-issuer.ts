/** Versions by serial number alone. */
import { type SQL, sql } from "drizzle-orm"
import type { Db } from "./db"

/**
 * Holds for every version, and lets the index that begins with the issuer find serial numbers whoever issued them: that of each issuer is
 * asked for. An index of numbers alone is one page more to write for every certificate that is issued, since numbers are random.
 */
export const ofAnyIssuer = ({ t, dialect }: Pick<Db, "t" | "dialect">): SQL => {
  const { issuerId } = t.certificateVersions
  const all = sql`select id from issuers`
  const isKnown = dialect === "sqlite" ? sql`${issuerId} in (${all})` : sql`${issuerId} = any(array(${all}))`
  return sql`(${isKnown} or ${issuerId} is null)`
}
