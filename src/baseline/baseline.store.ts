/** SQL of the rows that a new database begins with. */
import type { Db, Tx } from "../db/db"
import type { Tables } from "../db/tables/tables"

type PolicyRow = Tables["renewalPolicies"]["$inferInsert"]
type RuleRow = Tables["policyRules"]["$inferInsert"]

export const baselineStore = ({ t }: Pick<Db, "t">) => ({
  /** Whether this database never had its baseline; true once only, whichever server asks first. */
  async claim(tx: Tx, now: Date): Promise<boolean> {
    const row = { name: "baseline", value: "1", updatedAt: now }
    return (await tx.insert(t.settings).values(row).onConflictDoNothing().returning()).length > 0
  },

  /** Ids of the rows that were not there yet. */
  async insertRenewalPolicies(tx: Tx, rows: PolicyRow[]): Promise<string[]> {
    const inserted = await tx.insert(t.renewalPolicies).values(rows).onConflictDoNothing().returning()
    return inserted.map(({ id }) => id)
  },

  async insertRules(tx: Tx, rows: RuleRow[]): Promise<string[]> {
    const inserted = await tx.insert(t.policyRules).values(rows).onConflictDoNothing().returning()
    return inserted.map(({ id }) => id)
  },
})

export type BaselineStore = ReturnType<typeof baselineStore>
