import { expect, test } from "bun:test"
import type { Tx } from "../db/db"
import type { JobRow } from "../jobs/job.store"
import { onEachDialect } from "../testing/on-each-dialect"
import { insertAgent, insertCertificate, insertJob, insertTarget } from "../testing/rows"
import { jobNews } from "./job-news"
import { notificationStore } from "./notification.store"

onEachDialect("news of jobs", (openDb) => {
  const told = async (job: Partial<JobRow>) => {
    const db = await openDb()
    const certificate = await insertCertificate(db)
    const agent = await insertAgent(db)
    const target = await insertTarget(db, { agentId: agent.id, name: "edge" })
    const row = await insertJob(db, {
      type: "Deployment",
      status: "Completed",
      certificateId: certificate.id,
      targetId: target.id,
      ...job,
    })
    const news: unknown[] = []
    const note =
      (kind: string) =>
      async (_tx: Tx, id: string, details: object): Promise<void> => {
        news.push([kind, id === certificate.id, details])
      }
    const tell = jobNews({
      announcements: {
        renewalFailed: note("renewal failed"),
        deploymentSucceeded: note("deployment succeeded"),
        deploymentFailed: note("deployment failed"),
      },
      notifications: notificationStore(db),
    })
    await db.transaction((tx) => tell(tx, row))
    return news
  }

  test("name the target of a deployment that was done", async () => {
    expect(await told({})).toEqual([["deployment succeeded", true, { targetName: "edge" }]])
  })

  test("wait until a failure is final", async () => {
    const failure = { status: "Failed", lastError: "nginx: bad", maxAttempts: 3 } as const
    expect(await told({ ...failure, attempts: 1 })).toEqual([])
    expect(await told({ ...failure, attempts: 3 })).toEqual([
      ["deployment failed", true, { targetName: "edge", reason: "nginx: bad" }],
    ])
  })

  test("tell of a renewal that was given up, and of none that goes on", async () => {
    const failed = { type: "Renewal", status: "Failed", targetId: null, lastError: "no", maxAttempts: 1 } as const
    expect(await told({ ...failed, attempts: 1 })).toEqual([["renewal failed", true, { reason: "no" }]])
    expect(await told({ ...failed, status: "AwaitingCSR" })).toEqual([])
  })
})
