/** Hierarchies of CAs below an issuer. */
import { sql } from "drizzle-orm"
import type { AnySQLiteColumn } from "drizzle-orm/sqlite-core"
import type { Kit } from "../kit"
import type { IssuanceTables } from "./issuance.tables"
import { createdAt, updatedAt } from "./stamps"

export interface StoredNameConstraints {
  permitted?: string[]
  excluded?: string[]
}

export const intermediateTables = (k: Kit, { issuers }: IssuanceTables) => {
  const intermediateCas = k.table(
    "intermediate_cas",
    {
      id: k.text("id").primaryKey(),
      owningIssuerId: k
        .text("owning_issuer_id")
        .notNull()
        .references(() => issuers.id, { onDelete: "restrict" }),
      /** null: the root. */
      parentCaId: k
        .text("parent_ca_id")
        .references((): AnySQLiteColumn => intermediateCas.id, { onDelete: "restrict" }),
      name: k.text("name").notNull(),
      subject: k.text("subject").notNull(),
      /** Key identifier, lower-case hex; below the root also names the sealed key. */
      ski: k.text("ski").notNull(),
      state: k.oneOf("state", ["active", "retiring", "retired"]).notNull().default("active"),
      certPem: k.text("cert_pem").notNull(),
      /** The root: path of its key file. Others: where the sealed key is. */
      keyDriverId: k.text("key_driver_id").notNull(),
      notBefore: k.time("not_before").notNull(),
      notAfter: k.time("not_after").notNull(),
      pathLenConstraint: k.int("path_len_constraint"),
      nameConstraints: k.json<StoredNameConstraints[]>("name_constraints").notNull(),
      ocspResponderUrl: k.text("ocsp_responder_url").notNull().default(""),
      metadata: k.json<Record<string, unknown>>("metadata").notNull(),
      createdAt: createdAt(k),
      updatedAt: updatedAt(k),
    },
    (t) => [
      k.uniqueIndex("uq_intermediate_cas_name").on(t.owningIssuerId, t.name),
      k
        .uniqueIndex("uq_intermediate_cas_active_root")
        .on(t.owningIssuerId)
        .where(sql`parent_ca_id is null and state = 'active'`),
      k.index("idx_intermediate_cas_parent_ca_id").on(t.parentCaId),
      k.check("intermediate_cas_state", sql`state in ('active', 'retiring', 'retired')`),
      k.check("intermediate_cas_validity", sql`not_after > not_before`),
      k.check("intermediate_cas_parent", sql`parent_ca_id is null or parent_ca_id <> id`),
    ],
  )
  return { intermediateCas }
}
