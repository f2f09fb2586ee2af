/** Enrolment over SCEP: the keys that clients encrypt to, and passwords that let one client in once. */
import { sql } from "drizzle-orm"
import type { Kit } from "../kit"
import type { IssuanceTables } from "./issuance.tables"
import { createdAt } from "./stamps"

export const scepTables = (k: Kit, { issuers }: IssuanceTables) => {
  const scepRegistrationAuthorities = k.table(
    "scep_registration_authorities",
    {
      issuerId: k
        .text("issuer_id")
        .notNull()
        .references(() => issuers.id, { onDelete: "cascade" }),
      certSerial: k.text("cert_serial").notNull(),
      /** Key identifier of the CA that signed, lower-case hex. */
      caSki: k.text("ca_ski").notNull(),
      certPem: k.text("cert_pem").notNull(),
      encryptedKey: k.blob("encrypted_key").notNull(),
      /** `former`: still opens what clients encrypt to the certificate they remember, until it expires. */
      state: k.oneOf("state", ["current", "former"]).notNull(),
      notBefore: k.time("not_before").notNull(),
      notAfter: k.time("not_after").notNull(),
      createdAt: createdAt(k),
    },
    (t) => [
      k.primaryKey({ columns: [t.issuerId, t.certSerial] }),
      // Two servers that need one at the same moment both try to make it: one insert wins.
      k.uniqueIndex("uq_scep_registration_authorities_current").on(t.issuerId).where(sql`state = 'current'`),
    ],
  )
  const scepChallenges = k.table(
    "scep_challenges",
    {
      id: k.text("id").primaryKey(),
      /** SHA-256 hex of the password. */
      hash: k.text("hash").notNull().unique(),
      /** The path label it is good for; empty for the root path. */
      pathId: k.text("path_id").notNull(),
      createdBy: k.text("created_by").notNull(),
      createdAt: createdAt(k),
      expiresAt: k.time("expires_at").notNull(),
      usedAt: k.time("used_at"),
      /** SHA-256 hex of the one CSR that may come again with it, since its CA has not decided yet. */
      waitingCsrHash: k.text("waiting_csr_hash"),
    },
    (t) => [k.index("idx_scep_challenges_expires_at").on(t.expiresAt)],
  )
  return { scepRegistrationAuthorities, scepChallenges }
}
