/**
 * Each background loop over a large inventory, beside small requests that want their answers meanwhile.
 * `bun scripts/bench/loops.bench.ts [certificates] [sqlite|postgres] [regular expression of names]`.
 */
import "reflect-metadata"
import { systemActor } from "../../src/access/actor"
import { leafStore } from "../../src/audit/leaf.store"
import { sealingService } from "../../src/audit/sealing.service"
import { foldRowCounts } from "../../src/db/row-count-folding"
import { indexRecent } from "../../src/db/search-triggers"
import { movableClock } from "../../src/testing/storm-world"
import { besideRequests, type Dialect, machineLine, openFleet } from "./fleet"

const certificates = Number(process.argv[2] ?? 1_000_000)
const chosen = process.argv[3] as Dialect | undefined
const only = new RegExp(process.argv[4] ?? "")
const rows: string[] = []
const hourMs = 3_600_000
const never = new AbortController().signal

for (const dialect of chosen === undefined ? (["sqlite", "postgres"] as const) : [chosen]) {
  const due = Math.ceil(certificates / 50)
  const size = { certificates, due, agents: Math.max(1, Math.floor(certificates / 500)), pastJobs: certificates }
  const clock = movableClock()
  const fleet = await openFleet(dialect, size, {}, { clock })
  const {
    renewals,
    processor,
    violations,
    policies,
    shortLived,
    observations,
    renewalPolicies,
    outbox,
    windows,
    agents,
    deliveries,
  } = fleet.wired.services
  const sealing = sealingService({ db: fleet.db, leaves: leafStore(fleet.db), clock })
  try {
    // So that something waits, and something violates.
    await renewals.checkAll(never)
    const rule = { type: "RenewalLeadTime", config: { lead_time_days: 1 }, enabled: true, severity: "Warning" } as const
    await policies.create({ name: "lead time", ...rule }, systemActor)
    const loops: Record<string, () => Promise<unknown>> = {
      "job processor": () => processor.process(never),
      "straggler check": () => processor.settleStragglers(never),
      "job retry": () => processor.retry(never),
      "job timeout": () => processor.reap(never),
      "short-lived expiry": () => shortLived.expire(never),
      "policy sweep": () => violations.sweep({ signal: never }),
      "renewal policy changed: the call": () => renewalPolicies.update("rp-1", { renewalWindowDays: 12 }, systemActor),
      "renewal policy changed: the rest": () => outbox.work(never),
      "audit sealing": () => sealing.seal({ signal: never }),
      "audit sealing, everything": () => sealing.seal({ everything: true, signal: never }),
      "observation thinning": () => observations.thin(never),
      "adding up of numbers": () => foldRowCounts(fleet.db, never),
      "search indexing": () => indexRecent(fleet.db, never),
      "opening of windows": () => windows.release(never),
      "agents fall silent": () => agents.markSilent(60_000),
      "jobs time out": async () => {
        clock.advance(25 * hourMs)
        await processor.reap(never)
      },
      "failed jobs come back": async () => {
        clock.advance(hourMs)
        await processor.retry(never)
      },
      "jobs that came back": () => processor.process(never),
      "renewal check a day later": () => renewals.checkAll(never),
      "policy sweep a day later": () => violations.sweep({ signal: never }),
      announcements: async () => {
        await Promise.all(deliveries.lanes.map((lane) => lane.deliverPending(never)))
      },
      "outbox, thinned": async () => {
        clock.advance(8 * 24 * hourMs)
        await outbox.thin(never)
      },
      "audit sealing of all that": () => sealing.seal({ signal: never }),
      "adding up of all that": () => foldRowCounts(fleet.db, never),
    }
    for (const [name, run] of Object.entries(loops)) {
      if (!only.test(name)) continue
      const seen = await besideRequests(fleet, "/api/v1/certificates/mc-00000001", run)
      rows.push(
        [
          dialect.padEnd(9),
          name.padEnd(34),
          `${seen.seconds.toFixed(1)} s`.padStart(9),
          `${seen.cpuSeconds.toFixed(1)} s`.padStart(8),
          `${seen.extraMiB.toFixed(0)} MiB`.padStart(9),
          String(seen.requests).padStart(9),
          `${seen.p99.toFixed(0)} ms`.padStart(8),
          `${seen.max.toFixed(0)} ms`.padStart(8),
          `${seen.maxOfChanges.toFixed(0)} ms`.padStart(8),
          `${seen.worstGap.toFixed(0)} ms`.padStart(9),
          `${seen.worstHold.toFixed(0)} ms`.padStart(9),
          `${seen.longestTransaction.toFixed(0)} ms`.padStart(9),
          String(seen.failures).padStart(9),
        ].join(""),
      )
      console.log(rows.at(-1))
    }
  } finally {
    await fleet.close()
  }
}

console.log(`\nbun scripts/bench/loops.bench.ts ${certificates}   (${machineLine()})\n`)
console.log(
  "dialect  loop                                   time     CPU   memory  requests     p99     max  change loop gap    thread  transact  failures",
)
for (const row of rows) console.log(row)
