import { expect, test } from "bun:test"
import { Registry } from "prom-client"
import type { Clock } from "../clock"
import type { Db } from "../db/db"
import { newId } from "../db/ids"
import { testApi } from "../testing/api"
import { onEachDialect } from "../testing/on-each-dialect"
import { resourceApi } from "../testing/resource-api"
import { insertAgent, insertCertificate, insertJob, insertTarget, mapTarget } from "../testing/rows"
import { attentionStore } from "./attention.store"
import { metricsRoutes } from "./metrics.routes"
import { metricsService } from "./metrics.service"
import { statsRoutes } from "./stats.routes"
import { statsService } from "./stats.service"
import { statsStore } from "./stats.store"

const now = new Date("2030-06-15T10:00:00Z")
const clock: Clock = { now: () => now }
const minute = 60_000
const day = 86_400_000
const fromNow = (ms: number) => new Date(now.getTime() + ms)

const setUp = (db: Db, needsAgent = true) => {
  const stats = statsService({ stats: statsStore(db), attention: attentionStore(db), clock, needsAgent })
  const metrics = metricsService({ stats, clock, startedAt: fromNow(-90_500), registry: new Registry() })
  return {
    stats,
    getStats: (path: string) => resourceApi("stats", statsRoutes(stats))("GET", path),
    metrics,
    getMetrics: (path: string) => resourceApi("metrics", metricsRoutes(metrics))("GET", path),
  }
}

const seedCertificates = async (db: Db) => {
  await insertCertificate(db, { status: "Active", expiresAt: fromNow(60 * day) })
  await insertCertificate(db, { status: "Active", expiresAt: fromNow(10 * day) })
  await insertCertificate(db, { status: "Active", expiresAt: fromNow(-day) })
  await insertCertificate(db, { status: "Expired", expiresAt: fromNow(-2 * day) })
  await insertCertificate(db, { status: "RenewalInProgress", expiresAt: fromNow(29 * day) })
  await insertCertificate(db, { status: "Revoked", expiresAt: fromNow(-day) })
  await insertCertificate(db, { status: "Archived", expiresAt: fromNow(5 * day) })
  await insertCertificate(db, { status: "Pending" })
}

onEachDialect("statistics", (openDb) => {
  test("of an empty database are zero", async () => {
    const { getStats } = setUp(await openDb())
    const { body } = await getStats("/summary")
    const { completed_at, ...numbers } = body
    expect(completed_at).toBe(now.toISOString())
    expect(Object.keys(numbers)).toHaveLength(11)
    expect(new Set(Object.values(numbers))).toEqual(new Set([0]))
    expect((await getStats("/certificates-by-status")).body).toEqual([])
    expect((await getStats("/job-trends")).body).toHaveLength(30)
  })

  test("count certificates once each: revoked, else expired, else expiring", async () => {
    const db = await openDb()
    const { getStats } = setUp(db)
    await seedCertificates(db)
    expect((await getStats("/summary")).body).toMatchObject({
      total_certificates: 8,
      revoked_certificates: 1,
      expired_certificates: 2,
      expiring_certificates: 2,
    })
  })

  test("judge Active by the date where statuses are counted", async () => {
    const db = await openDb()
    const { getStats } = setUp(db)
    await seedCertificates(db)
    expect((await getStats("/certificates-by-status")).body).toEqual([
      { status: "Active", count: 1 },
      { status: "Archived", count: 1 },
      { status: "Expired", count: 2 },
      { status: "Expiring", count: 1 },
      { status: "Pending", count: 1 },
      { status: "RenewalInProgress", count: 1 },
      { status: "Revoked", count: 1 },
    ])
  })

  test("count agents that are not retired, jobs by what became of them and dead notifications", async () => {
    const db = await openDb()
    const { getStats } = setUp(db)
    await insertAgent(db, { lastHeartbeatAt: fromNow(-4 * minute) })
    await insertAgent(db, { lastHeartbeatAt: fromNow(-6 * minute) })
    await insertAgent(db)
    await insertAgent(db, { lastHeartbeatAt: now, retiredAt: now })
    for (const status of ["Pending", "AwaitingApproval", "Running", "Completed", "Failed", "Cancelled"] as const) {
      await insertJob(db, { type: "Deployment", status })
    }
    const notification = { id: newId("notif-"), type: "Revocation", channel: "Email", recipient: "x", message: "x" }
    await db.transaction(async (tx) => {
      await tx.insert(db.t.notifications).values({ ...notification, status: "dead", createdAt: now })
    })
    expect((await getStats("/summary")).body).toMatchObject({
      total_agents: 3,
      active_agents: 1,
      offline_agents: 2,
      pending_jobs: 3,
      complete_jobs: 1,
      failed_jobs: 1,
      notifications_dead: 1,
    })
  })

  test("show each coming day with what expires on it, in UTC", async () => {
    const db = await openDb()
    const { getStats } = setUp(db)
    await insertCertificate(db, { status: "Active", expiresAt: new Date("2030-06-15T00:00:00Z") })
    await insertCertificate(db, { status: "Active", expiresAt: new Date("2030-06-15T23:59:59.999Z") })
    await insertCertificate(db, { status: "Active", expiresAt: new Date("2030-06-17T00:00:00Z") })
    await insertCertificate(db, { status: "Active", expiresAt: new Date("2030-06-18T00:00:00Z") })
    await insertCertificate(db, { status: "Archived", expiresAt: new Date("2030-06-16T00:00:00Z") })
    expect((await getStats("/expiration-timeline?days=3")).body).toEqual([
      { date: "2030-06-15", count: 2 },
      { date: "2030-06-16", count: 0 },
      { date: "2030-06-17", count: 1 },
    ])
  })

  test("show the past days with the jobs that ended and the certificates created", async () => {
    const db = await openDb()
    const { getStats } = setUp(db)
    const ended = [
      ["Completed", "2030-06-14T00:00:00Z"],
      ["Completed", "2030-06-14T12:00:00Z"],
      ["Failed", "2030-06-14T23:59:59Z"],
      ["Cancelled", "2030-06-14T10:00:00Z"],
      ["Completed", "2030-06-15T09:00:00Z"],
      ["Completed", "2030-06-12T09:00:00Z"],
    ] as const
    for (const [status, completedAt] of ended) {
      await insertJob(db, { type: "Deployment", status, completedAt: new Date(completedAt) })
    }
    await insertCertificate(db, { createdAt: new Date("2030-06-13T05:00:00Z") })
    const trends = (await getStats("/job-trends?days=3")).body
    expect(trends[1].success_rate).toBeCloseTo(66.667, 2)
    expect(trends).toEqual([
      { date: "2030-06-13", completed_count: 0, failed_count: 0, success_rate: 0 },
      { date: "2030-06-14", completed_count: 2, failed_count: 1, success_rate: trends[1].success_rate },
      { date: "2030-06-15", completed_count: 1, failed_count: 0, success_rate: 100 },
    ])
    expect((await getStats("/issuance-rate?days=3")).body).toEqual([
      { date: "2030-06-13", issued_count: 1 },
      { date: "2030-06-14", issued_count: 0 },
      { date: "2030-06-15", issued_count: 0 },
    ])
  })

  test.each(["0", "366", "-1", "abc", ""])("take %j days for the default", async (days) => {
    const { getStats } = setUp(await openDb())
    expect((await getStats(`/expiration-timeline?days=${days}`)).body).toHaveLength(30)
  })

  test("become metrics: every listed one has a value, on every scrape", async () => {
    const db = await openDb()
    const { getMetrics, metrics } = setUp(db)
    await seedCertificates(db)
    await insertJob(db, { type: "Deployment", status: "Completed" })
    expect((await getMetrics("")).body).toEqual({
      gauge: {
        certificate_total: 8,
        certificate_active: 3,
        certificate_expiring_soon: 2,
        certificate_expired: 2,
        certificate_revoked: 1,
        agent_total: 0,
        agent_online: 0,
        job_pending: 0,
      },
      counter: { job_completed_total: 1, job_failed_total: 0, notifications_dead_total: 0 },
      uptime: { uptime_seconds: 90, server_started: fromNow(-90_500).toISOString(), measured_at: now.toISOString() },
    })
    const answers = [1, 2].map(() => testApi(metricsRoutes(metrics)).request("/api/v1/prometheus"))
    for (const answer of await Promise.all(answers)) {
      expect(answer.headers.get("content-type")).toBe("text/plain; version=0.0.4; charset=utf-8")
      const text = await answer.text()
      const names = [...text.matchAll(/^# TYPE (\S+) (gauge|counter)$/gm)].map(([, name]) => name)
      expect(names).toHaveLength(12)
      for (const name of names) expect(text).toMatch(new RegExp(`^# HELP ${name} .+$[^]*^${name} \\d+$`, "m"))
      expect(text).toContain("\ncertctl_certificate_active 3\n")
      expect(text).toContain("\ncertctl_job_completed_total 1\n")
    }
  })
})

onEachDialect("what needs attention", (openDb) => {
  test("is nothing in an empty database", async () => {
    const { stats } = setUp(await openDb())
    const nothing = { rows: [], total: 0 }
    expect(await stats.attention()).toEqual({ failedRenewals: nothing, unattended: nothing, silentAgents: nothing })
  })

  test("are renewals whose last run failed, soonest expiry first, and not those that went well since", async () => {
    const db = await openDb()
    const { stats } = setUp(db)
    await insertCertificate(db, { id: "mc-late", status: "Active", expiresAt: fromNow(50 * day) })
    await insertCertificate(db, { id: "mc-soon", status: "Active", expiresAt: fromNow(40 * day) })
    await insertCertificate(db, { id: "mc-new", status: "Failed" })
    await insertCertificate(db, { id: "mc-healed", status: "Active", expiresAt: fromNow(40 * day) })
    await insertCertificate(db, { id: "mc-revoked", status: "Revoked", expiresAt: fromNow(40 * day) })
    const failed = (certificateId: string, createdAt = fromNow(-2 * day)) =>
      insertJob(db, { type: "Renewal", status: "Failed", certificateId, createdAt, lastError: `no ${certificateId}` })
    for (const id of ["mc-late", "mc-soon", "mc-new", "mc-healed", "mc-revoked"]) await failed(id)
    await insertJob(db, { type: "Renewal", status: "Completed", certificateId: "mc-healed", createdAt: fromNow(-day) })
    await insertJob(db, { type: "Deployment", status: "Completed", certificateId: "mc-soon", createdAt: fromNow(-day) })
    const { failedRenewals } = await stats.attention()
    expect(failedRenewals.total).toBe(3)
    expect(failedRenewals.rows.map(({ certificateId }) => certificateId)).toEqual(["mc-soon", "mc-late", "mc-new"])
    expect(failedRenewals.rows[0]).toMatchObject({ lastError: "no mc-soon", expiresAt: fromNow(40 * day) })
  })

  test("are certificates that lapse soon and that nobody renews", async () => {
    const db = await openDb()
    const { stats } = setUp(db)
    const soon = { status: "Active", expiresAt: fromNow(5 * day) } as const
    await insertAgent(db, { id: "agent-1", lastHeartbeatAt: now })
    await insertTarget(db, { id: "tgt-on", agentId: "agent-1" })
    await insertTarget(db, { id: "tgt-off", agentId: "agent-1", enabled: false })
    for (const id of ["mc-served", "mc-off", "mc-alone"]) await insertCertificate(db, { ...soon, id })
    await mapTarget(db, "mc-served", "tgt-on")
    await mapTarget(db, "mc-off", "tgt-off")
    await insertCertificate(db, { ...soon, id: "mc-est", source: "EST" })
    await insertCertificate(db, { ...soon, id: "mc-later", expiresAt: fromNow(90 * day) })
    await db.transaction(async (tx) => {
      const lists = { alertThresholdsDays: [], alertChannels: {}, alertSeverityMap: {} }
      const policy = { id: "rp-manual", name: "manual", autoRenew: false, renewalWindowDays: 30, ...lists }
      await tx.insert(db.t.renewalPolicies).values({ ...policy, createdAt: now, updatedAt: now })
    })
    await insertCertificate(db, { ...soon, id: "mc-manual", renewalPolicyId: "rp-manual", expiresAt: fromNow(day) })
    await mapTarget(db, "mc-manual", "tgt-on")
    const found = async (needsAgent: boolean) => {
      const { unattended } = await setUp(db, needsAgent).stats.attention()
      expect(unattended.total).toBe(unattended.rows.length)
      return unattended.rows.map(({ certificateId, reason }) => [certificateId, reason])
    }
    expect(await found(true)).toEqual([
      ["mc-manual", "approval"],
      ["mc-alone", "no_agent"],
      ["mc-off", "no_agent"],
    ])
    expect(await found(false)).toEqual([["mc-manual", "approval"]])
    expect((await stats.attention()).unattended.rows[0]?.expiresAt).toEqual(fromNow(day))
  })

  test("are agents that went silent, with what depends on them and when the first of it lapses", async () => {
    const db = await openDb()
    const { stats } = setUp(db)
    await insertAgent(db, { id: "agent-blip", lastHeartbeatAt: fromNow(-10 * minute) })
    await insertAgent(db, { id: "agent-idle", lastHeartbeatAt: fromNow(-day) })
    await insertAgent(db, { id: "agent-gone", lastHeartbeatAt: fromNow(-day) })
    await insertAgent(db, { id: "agent-mute" })
    for (const name of ["blip", "gone", "mute"]) {
      await insertTarget(db, { id: `tgt-${name}`, agentId: `agent-${name}` })
      await insertCertificate(db, { id: `mc-${name}`, status: "Active", expiresAt: fromNow(20 * day) })
      await mapTarget(db, `mc-${name}`, `tgt-${name}`)
    }
    await insertTarget(db, { id: "tgt-gone-2", agentId: "agent-gone" })
    await mapTarget(db, "mc-gone", "tgt-gone-2")
    await insertCertificate(db, { id: "mc-first", status: "Expiring", expiresAt: fromNow(3 * day) })
    await mapTarget(db, "mc-first", "tgt-gone-2")
    const { silentAgents } = await stats.attention()
    expect(silentAgents).toEqual({
      total: 2,
      rows: [
        {
          agentId: "agent-gone",
          name: "agent-gone",
          lastHeartbeatAt: fromNow(-day),
          certificates: 2,
          firstExpiresAt: fromNow(3 * day),
        },
        {
          agentId: "agent-mute",
          name: "agent-mute",
          lastHeartbeatAt: null,
          certificates: 1,
          firstExpiresAt: fromNow(20 * day),
        },
      ],
    })
  })

  test("is shown in at most twenty rows, with the number of all", async () => {
    const db = await openDb()
    const { stats } = setUp(db)
    for (let i = 0; i < 22; i++) await insertCertificate(db, { status: "Active", expiresAt: fromNow(i * minute) })
    const { unattended } = await stats.attention()
    expect(unattended.total).toBe(22)
    expect(unattended.rows).toHaveLength(20)
  })
})
