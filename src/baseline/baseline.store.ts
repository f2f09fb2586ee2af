/** SQL of the rows that a new database begins with. */
import { eq } from "drizzle-orm"
import type { Db, Tx } from "../db/db"
import type { Tables } from "../db/tables/tables"

/** Who answers for certificates that clients enrol for themselves. */
export const systemRows = { ownerId: "o-system", teamId: "t-system", renewalPolicyId: "rp-default" } as const

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

  /** Whether the owner, team and renewal policy of what clients enrol for themselves are all there. */
  async hasSystemRows(tx: Tx): Promise<boolean> {
    const rows = await tx
      .select({ id: t.owners.id })
      .from(t.owners)
      .innerJoin(t.teams, eq(t.teams.id, systemRows.teamId))
      .innerJoin(t.renewalPolicies, eq(t.renewalPolicies.id, systemRows.renewalPolicyId))
      .where(eq(t.owners.id, systemRows.ownerId))
    return rows.length > 0
  },

  /** False when it is there, or its name is taken. */
  async insertTeam(tx: Tx, row: Tables["teams"]["$inferInsert"]): Promise<boolean> {
    return (await tx.insert(t.teams).values(row).onConflictDoNothing().returning()).length > 0
  },

  async insertOwner(tx: Tx, row: Tables["owners"]["$inferInsert"]): Promise<boolean> {
    return (await tx.insert(t.owners).values(row).onConflictDoNothing().returning()).length > 0
  },

  async insertRules(tx: Tx, rows: RuleRow[]): Promise<string[]> {
    const inserted = await tx.insert(t.policyRules).values(rows).onConflictDoNothing().returning()
    return inserted.map(({ id }) => id)
  },
})

export type BaselineStore = ReturnType<typeof baselineStore>
