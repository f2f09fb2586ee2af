/** SQL of the demo inventory: many rows at once, past the services, since none of it happened. */
import { count, eq } from "drizzle-orm"
import type { Db, Tx } from "../db/db"
import type { Tables } from "../db/tables/tables"

type Insert<Table extends keyof Tables> = Tables[Table]["$inferInsert"]

/** In the order of references. */
export interface DemoRows {
  readonly teams: Insert<"teams">[]
  readonly owners: Insert<"owners">[]
  readonly profiles: Insert<"certificateProfiles">[]
  readonly renewalPolicies: Insert<"renewalPolicies">[]
  readonly issuers: Insert<"issuers">[]
  readonly caKeys: Insert<"caKeys">[]
  readonly agents: Insert<"agents">[]
  readonly targets: Insert<"deploymentTargets">[]
  readonly certificates: Insert<"certificates">[]
  readonly versions: Insert<"certificateVersions">[]
  readonly mappings: Insert<"certificateTargets">[]
  readonly revocations: Insert<"certificateRevocations">[]
  readonly jobs: Insert<"jobs">[]
  readonly approvals: Insert<"approvalRequests">[]
  readonly observations: Insert<"observations">[]
  readonly auditEvents: Insert<"auditEvents">[]
}

const settingName = "demo"
/** Rows per INSERT; a job has about thirty parameters, and SQLite takes 32,766. */
const chunk = 500

const inChunks = async <Row>(rows: readonly Row[], insert: (rows: Row[]) => PromiseLike<unknown>): Promise<void> => {
  for (let from = 0; from < rows.length; from += chunk) await insert(rows.slice(from, from + chunk))
}

export const demoStore = ({ t, read }: Pick<Db, "t" | "read">) => ({
  async isLoaded(): Promise<boolean> {
    const rows = await read.select().from(t.settings).where(eq(t.settings.name, settingName))
    return rows.length > 0
  },

  /** False when another server was faster. */
  async claim(tx: Tx, now: Date): Promise<boolean> {
    const row = { name: settingName, value: now.toISOString(), updatedAt: now }
    return (await tx.insert(t.settings).values(row).onConflictDoNothing().returning()).length > 0
  },

  /** Whether somebody keeps an inventory of their own here. */
  async hasInventory(): Promise<boolean> {
    for (const table of [t.certificates, t.agents, t.owners, t.teams]) {
      const [row] = await read.select({ n: count() }).from(table)
      if ((row?.n ?? 0) > 0) return true
    }
    return false
  },

  async insert(tx: Tx, rows: DemoRows): Promise<void> {
    await inChunks(rows.teams, (part) => tx.insert(t.teams).values(part))
    await inChunks(rows.owners, (part) => tx.insert(t.owners).values(part))
    await inChunks(rows.profiles, (part) => tx.insert(t.certificateProfiles).values(part))
    await inChunks(rows.renewalPolicies, (part) => tx.insert(t.renewalPolicies).values(part))
    await inChunks(rows.issuers, (part) => tx.insert(t.issuers).values(part))
    await inChunks(rows.caKeys, (part) => tx.insert(t.caKeys).values(part))
    await inChunks(rows.agents, (part) => tx.insert(t.agents).values(part))
    await inChunks(rows.targets, (part) => tx.insert(t.deploymentTargets).values(part))
    await inChunks(rows.certificates, (part) => tx.insert(t.certificates).values(part))
    await inChunks(rows.versions, (part) => tx.insert(t.certificateVersions).values(part))
    await inChunks(rows.mappings, (part) => tx.insert(t.certificateTargets).values(part))
    await inChunks(rows.revocations, (part) => tx.insert(t.certificateRevocations).values(part))
    await inChunks(rows.jobs, (part) => tx.insert(t.jobs).values(part))
    await inChunks(rows.approvals, (part) => tx.insert(t.approvalRequests).values(part))
    await inChunks(rows.observations, (part) => tx.insert(t.observations).values(part))
    await inChunks(rows.auditEvents, (part) => tx.insert(t.auditEvents).values(part))
  },
})

export type DemoStore = ReturnType<typeof demoStore>
