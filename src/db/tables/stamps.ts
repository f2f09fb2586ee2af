/** Creation and change stamps. The service sets them from its clock, so no default in the database. */
import type { Kit } from "../kit"

export const createdAt = (k: Kit) => k.time("created_at").notNull()
export const updatedAt = (k: Kit) => k.time("updated_at").notNull()
