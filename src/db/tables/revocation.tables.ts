/** What is published about revocation: signed lists, their history, and the keys that sign OCSP answers. */
import type { Kit } from "../kit"
import type { IssuanceTables } from "./issuance.tables"
import { createdAt, updatedAt } from "./stamps"

export const revocationTables = (k: Kit, { issuers }: IssuanceTables) => {
  const crlCache = k.table(
    "crl_cache",
    {
      issuerId: k
        .text("issuer_id")
        .notNull()
        .references(() => issuers.id, { onDelete: "cascade" }),
      /** Key identifier of the CA that signed, lower-case hex. */
      caSki: k.text("ca_ski").notNull(),
      /** Empty where the list is long: who needs it makes it anew. */
      crlDer: k.blob("crl_der").notNull(),
      crlNumber: k.int("crl_number").notNull(),
      thisUpdate: k.time("this_update").notNull(),
      nextUpdate: k.time("next_update").notNull(),
      generatedAt: k.time("generated_at").notNull(),
      generationDurationMs: k.int("generation_duration_ms").notNull(),
      revokedCount: k.int("revoked_count").notNull(),
      createdAt: createdAt(k),
      updatedAt: updatedAt(k),
    },
    (t) => [k.primaryKey({ columns: [t.issuerId, t.caSki] }), k.index("idx_crl_cache_next_update").on(t.nextUpdate)],
  )
  const crlGenerationEvents = k.table(
    "crl_generation_events",
    {
      id: k.text("id").primaryKey(),
      issuerId: k
        .text("issuer_id")
        .notNull()
        .references(() => issuers.id, { onDelete: "cascade" }),
      crlNumber: k.int("crl_number").notNull(),
      durationMs: k.int("duration_ms").notNull(),
      revokedCount: k.int("revoked_count").notNull(),
      startedAt: k.time("started_at").notNull(),
      succeeded: k.bool("succeeded").notNull(),
      error: k.text("error"),
    },
    (t) => [k.index("idx_crl_generation_events_issuer_id").on(t.issuerId, t.startedAt)],
  )
  const ocspResponders = k.table(
    "ocsp_responders",
    {
      issuerId: k
        .text("issuer_id")
        .notNull()
        .references(() => issuers.id, { onDelete: "cascade" }),
      caSki: k.text("ca_ski").notNull(),
      certPem: k.text("cert_pem").notNull(),
      certSerial: k.text("cert_serial").notNull(),
      encryptedKey: k.blob("encrypted_key").notNull(),
      keyAlg: k.text("key_alg").notNull(),
      notBefore: k.time("not_before").notNull(),
      notAfter: k.time("not_after").notNull(),
      /** Serial of the certificate this one replaced. */
      rotatedFrom: k.text("rotated_from"),
      createdAt: createdAt(k),
      updatedAt: updatedAt(k),
    },
    (t) => [k.primaryKey({ columns: [t.issuerId, t.caSki] }), k.index("idx_ocsp_responders_not_after").on(t.notAfter)],
  )
  return { crlCache, crlGenerationEvents, ocspResponders }
}
