/**
 * Each background loop over a large inventory, beside small requests that want their answers meanwhile.
 * `bun scripts/bench/loops.bench.ts [certificates] [sqlite|postgres]`.
 */
import "reflect-metadata"
import { systemActor } from "../../src/access/actor"
import { leafStore } from "../../src/audit/leaf.store"
import { sealingService } from "../../src/audit/sealing.service"
import { besideRequests, type Dialect, machineLine, openFleet } from "./fleet"

const certificates = Number(process.argv[2] ?? 1_000_000)
const chosen = process.argv[3] as Dialect | undefined
const rows: string[] = []
const never = new AbortController().signal

for (const dialect of chosen === undefined ? (["sqlite", "postgres"] as const) : [chosen]) {
  const due = Math.ceil(certificates / 50)
  const size = { certificates, due, agents: Math.max(1, Math.floor(certificates / 500)), pastJobs: certificates }
  const fleet = await openFleet(dialect, size)
  const { renewals, processor, violations, policies, shortLived, observations, renewalPolicies, outbox } =
    fleet.wired.services
  const sealing = sealingService({ db: fleet.db, leaves: leafStore(fleet.db), clock: { now: () => new Date() } })
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
    }
    for (const [name, run] of Object.entries(loops)) {
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
          `${seen.worstGap.toFixed(0)} ms`.padStart(9),
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
  "dialect  loop                                   time     CPU   memory  requests     p99     max loop gap  failures",
)
for (const row of rows) console.log(row)
