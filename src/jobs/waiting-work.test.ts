/**
 * Which index SQLite reads for the queries of the loops and of the renewal check. It keeps no statistics, so its choice depends on the
 * words alone, and a wrong one is not seen before there are a million rows.
 */
import { expect, test } from "bun:test"
import { mkdtempSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import Database from "better-sqlite3"
import { drizzle } from "drizzle-orm/better-sqlite3"
import { dueStore } from "../certificates/due.store"
import { servingStore } from "../certificates/serving.store"
import { versionStore } from "../certificates/version.store"
import type { Db, Query } from "../db/db"
import { migrate } from "../db/migrate"
import { openDatabase } from "../db/open"
import { withStablePlan } from "../db/sqlite-statements"
import { alarmStore } from "../inventory/alarm.store"
import { digestStore } from "../notifications/digest.store"
import { notificationStore } from "../notifications/notification.store"
import { migrationsFolder } from "../testing/postgres"
import { jobStore } from "./job.store"

/** The handle with reads of its own, and what these send. */
const listening = (db: Db, file: Database.Database): { db: Db; sent: { text: string; parameters: unknown[] }[] } => {
  const sent: { text: string; parameters: unknown[] }[] = []
  const logger = { logQuery: (text: string, parameters: unknown[]) => void sent.push({ text, parameters }) }
  return { db: { ...db, read: drizzle({ client: file, logger }) as unknown as Query }, sent }
}

test("read what is waiting, and not what is over", async () => {
  const folder = mkdtempSync(join(tmpdir(), "certctl-plans-"))
  try {
    const opened = await openDatabase({ url: "sqlite:plans.db", dataDir: folder, maxConnections: 1 })
    await migrate(opened, { folder: migrationsFolder })
    const file = new Database(join(folder, "plans.db"), { readonly: true })
    const { db, sent } = listening(opened, file)
    const [jobs, due, serving, versions] = [jobStore(db), dueStore(db), servingStore(db), versionStore(db)]
    const [notifications, digest, alarms] = [notificationStore(db), digestStore(db), alarmStore(db)]
    const now = new Date()
    const place = { time: now, id: "x" }
    const asked: Record<string, { ask: () => PromiseLike<unknown>; index: RegExp }> = {
      claimable: { ask: () => jobs.claimable(now, 10), index: /idx_jobs_claimable/ },
      lapsed: { ask: () => jobs.lapsed(now, 10), index: /idx_jobs_lease_until/ },
      retryable: {
        ask: () => jobs.retryable("Renewal", now, 10, { completedAt: now, id: "x" }),
        index: /idx_jobs_retryable \(type=\? AND .*completed_at<\?\)/,
      },
      "waiting for a window": { ask: () => jobs.heldBy("outside", null, 10), index: /idx_jobs_held/ },
      "waiting for a CSR": { ask: () => jobs.waitingSince("AwaitingCSR", now, 10), index: /idx_jobs_waiting/ },
      "old orders": { ask: () => jobs.ordersOlderThan(now, 10), index: /idx_jobs_lease_until/ },
      "silent agents": {
        ask: () => jobs.deploymentsOfSilentAgents(now, 10),
        index: /idx_jobs_status_created_at \(status=\?/,
      },
      "deployments of an agent": {
        ask: () => jobs.claimableDeployments(db.read, "a", { ofAgent: true, ofNobody: true }, now, 10),
        index: /idx_jobs_agent_open \(agent_id=\? AND status=\?/,
      },
      "CSR jobs of an agent": {
        ask: () => jobs.offeredCsrJobs(db.read, "a", { ofAgent: true, ofNobody: true }, 10),
        index: /idx_jobs_agent_open \(agent_id=\? AND status=\?/,
      },
      "whether an agent has work": {
        ask: () => jobs.openWork(db.read, "a"),
        index: /COVERING INDEX idx_jobs_agent_open \(agent_id=\? AND status=\?/,
      },
      "open jobs of an agent": {
        ask: () => jobs.openOfAgent(db.read, "a"),
        index: /idx_jobs_agent_open \(agent_id=\?/,
      },
      "deployments that run": {
        ask: () => jobs.runningDeployments(db.read, "a"),
        index: /idx_jobs_agent_open \(agent_id=\? AND status=\?/,
      },
      "jobs that failed lately": { ask: () => digest.failedJobs(now, 10), index: /idx_jobs_failed \(completed_at>\?/ },
      "the next renewal": { ask: () => alarms.nextRenewal(now), index: /idx_managed_certificates_due \(renew_at>\?/ },
      "notifications to send": {
        ask: () => notifications.pending({ except: [] }, now, 10),
        index: /idx_notification_events_unsent \(status=\?/,
      },
      "notifications to send again": {
        ask: () => notifications.toRetry({ except: [] }, now, 10),
        index: /idx_notification_events_unsent \(status=\?/,
      },
      "notifications that are dead": {
        ask: () => notifications.list({ status: "dead" }, { limit: 10, after: null }),
        index: /idx_notification_events_unsent \(status=\?/,
      },
      "a serial number of whatever issuer": {
        ask: () => versions.bySerial("1a"),
        index: /idx_certificate_versions_serial \(issuer_id=\? AND serial_number=\?.*_serial \(issuer_id=\? AND serial/,
      },
      "live jobs of one": { ask: () => jobs.liveIssuing(db.read, "a"), index: /idx_jobs_certificate_id \(cert/ },
      "issuing jobs": { ask: () => due.issuingOf(db.read, ["a", "b"]), index: /idx_jobs_certificate_id \(cert/ },
      "what expires": {
        ask: () => due.expiring({ until: now, end: place, now, automatic: ["rp-1"] }, place, 10),
        index: /COVERING INDEX idx_managed_certificates_check/,
      },
      "the end of a piece": {
        ask: () => due.pieceEnd(now, place, 10),
        index: /COVERING INDEX idx_managed_certificates_check/,
      },
      "what is due": { ask: () => due.due(now, place, 10), index: /COVERING INDEX idx_managed_certificates_due/ },
      "short-lived": { ask: () => due.expiredShortLived(now, 10), index: /\(status=\? AND expires_at<\?/ },
      "places of one": {
        ask: () => serving.placesOf(["a"]),
        index: /certificate_target_mappings_1 \(certificate_id=\?/,
      },
      places: {
        ask: () => serving.placesOf(["a", "b"]),
        index: /certificate_target_mappings_1 \(certificate_id=\?|renewal_policies_1 \(id=\?/,
      },
      versions: { ask: () => versions.newestOfEach(db.read, ["a", "b"]), index: /idx_certificate_versions_newest/ },
    }
    const chosen: Record<string, string> = {}
    for (const [name, { ask }] of Object.entries(asked)) {
      sent.length = 0
      await ask()
      const plans = sent.map(({ text, parameters }) =>
        file
          .prepare<unknown[], { detail: string }>(`explain query plan ${withStablePlan(text)}`)
          .all(...parameters)
          .map(({ detail }) => detail)
          .join("; "),
      )
      chosen[name] = plans.join(" | ")
    }
    file.close()
    await opened.close()
    const wrong = Object.entries(asked).filter(
      ([name, { index }]) => !chosen[name]?.split(" | ").every((plan) => index.test(plan)),
    )
    expect(wrong.map(([name]) => `${name}: ${chosen[name]}`)).toEqual([])
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
})
