/**
 * The renewal check of a large inventory, and the same check again when everything is under way, beside small requests that want
 * their answers meanwhile. `bun scripts/bench/renewal-check.bench.ts [certificates] [due] [sqlite|postgres]`.
 */
import "reflect-metadata"
import { besideRequests, type Dialect, machineLine, openFleet } from "./fleet"

const certificates = Number(process.argv[2] ?? 1_000_000)
const due = Number(process.argv[3] ?? certificates / 50)
const chosen = process.argv[4] as Dialect | undefined
const rows: string[] = []

for (const dialect of chosen === undefined ? (["sqlite", "postgres"] as const) : [chosen]) {
  const began = performance.now()
  const fleet = await openFleet(dialect, { certificates, due, agents: Math.max(1, Math.floor(certificates / 500)) })
  console.log(`${dialect}: filled in ${((performance.now() - began) / 1000).toFixed(0)} s`)
  try {
    const { renewals } = fleet.wired.services
    for (const what of ["first pass", "again"]) {
      const check = () => renewals.checkAll(new AbortController().signal)
      const { result, ...seen } = await besideRequests(fleet, "/api/v1/certificates/mc-00000001", check)
      rows.push(
        [
          dialect.padEnd(9),
          what.padEnd(11),
          String(result.checked).padStart(9),
          String(result.opened).padStart(7),
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
    }
  } finally {
    await fleet.close()
  }
}

console.log(`\nbun scripts/bench/renewal-check.bench.ts ${certificates} ${due}   (${machineLine()})\n`)
console.log(
  "dialect  pass         looked at opened     time     CPU   memory  requests     p99     max loop gap  failures",
)
for (const row of rows) console.log(row)
