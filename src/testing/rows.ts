/** Rows that tests need around what they are about. Each fills in what it is not told. */
import type { Db } from "../db/db"
import { newId } from "../db/ids"
import type { Tables } from "../db/tables/tables"

type NewRow<Table extends keyof Tables> = Tables[Table]["$inferInsert"]
type Row<Table extends keyof Tables> = Tables[Table]["$inferSelect"]

const longAgo = new Date(Date.UTC(2029, 0, 1))
const stamps = { createdAt: longAgo, updatedAt: longAgo }

const only = <R>(rows: R[]): R => {
  const [row] = rows
  if (row === undefined) throw new Error("the row was not inserted")
  return row
}

/** A certificate with the owner, team, issuer and renewal policy it needs: `o-1`, `t-1`, `iss-1`, `rp-1`. */
export const insertCertificate = (db: Db, row: Partial<NewRow<"certificates">> = {}): Promise<Row<"certificates">> =>
  db.transaction(async (tx) => {
    const { t } = db
    await tx
      .insert(t.teams)
      .values({ id: "t-1", name: "team", ...stamps })
      .onConflictDoNothing()
    await tx
      .insert(t.owners)
      .values({ id: "o-1", name: "owner", ...stamps })
      .onConflictDoNothing()
    await tx
      .insert(t.issuers)
      .values({ id: "iss-1", name: "issuer", type: "GenericCA", config: {}, ...stamps })
      .onConflictDoNothing()
    const policy = { alertThresholdsDays: [], alertChannels: {}, alertSeverityMap: {}, renewalWindowDays: 30 }
    await tx
      .insert(t.renewalPolicies)
      .values({ id: "rp-1", name: "policy", ...policy, ...stamps })
      .onConflictDoNothing()
    const id = row.id ?? newId("mc-")
    const certificate = {
      id,
      name: id,
      commonName: "www.example.com",
      sans: [],
      tags: {},
      ownerId: "o-1",
      teamId: "t-1",
      issuerId: "iss-1",
      renewalPolicyId: "rp-1",
      ...stamps,
      ...row,
    }
    return only(await tx.insert(t.certificates).values(certificate).returning())
  })

export const insertAgent = (db: Db, row: Partial<NewRow<"agents">> = {}): Promise<Row<"agents">> =>
  db.transaction(async (tx) => {
    const id = row.id ?? newId("agent-")
    const agent = { id, name: id, hostname: "host", registeredAt: longAgo, ...row }
    return only(await tx.insert(db.t.agents).values(agent).returning())
  })

export const insertTarget = (
  db: Db,
  row: Partial<NewRow<"deploymentTargets">> & { agentId: string },
): Promise<Row<"deploymentTargets">> =>
  db.transaction(async (tx) => {
    const id = row.id ?? newId("tgt-")
    const target = { id, name: id, type: "NGINX", config: {}, ...stamps, ...row }
    return only(await tx.insert(db.t.deploymentTargets).values(target).returning())
  })

export const mapTarget = (db: Db, certificateId: string, targetId: string): Promise<void> =>
  db.transaction(async (tx) => {
    await tx.insert(db.t.certificateTargets).values({ certificateId, targetId })
  })

export const insertJob = (
  db: Db,
  row: Partial<NewRow<"jobs">> & Pick<NewRow<"jobs">, "type" | "status">,
): Promise<Row<"jobs">> =>
  db.transaction(async (tx) => {
    const job = { id: newId("job-"), statusSince: longAgo, scheduledAt: longAgo, createdAt: longAgo, ...row }
    return only(await tx.insert(db.t.jobs).values(job).returning())
  })
