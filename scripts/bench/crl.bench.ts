/**
 * A revocation list of many entries, asked for the first time, and again after one more revocation, beside small requests that want
 * their answers meanwhile. `bun scripts/bench/crl.bench.ts [entries] [sqlite|postgres]`
 */
import "reflect-metadata"
import { sql } from "drizzle-orm"
import postgres from "postgres"
import { besideRequests, type Dialect, machineLine, openFleet } from "./fleet"

const entries = Number(process.argv[2] ?? 200_000)
const chosen = process.argv[3] as Dialect | undefined
const rows: string[] = []

for (const dialect of chosen === undefined ? (["sqlite", "postgres"] as const) : [chosen]) {
  const fleet = await openFleet(dialect, { certificates: entries + 1, due: 0, agents: 100 })
  try {
    const { db, wired } = fleet
    const { certificateRevocations: revocations, certificateVersions: versions } = db.t
    /** Every version of a range of ids, one a second. */
    const revoke = (from: string, to: string, since: Date) =>
      db.transaction(async (tx) => {
        const found = await tx
          .select({
            id: versions.certificateId,
            versionId: versions.id,
            serial: versions.serialNumber,
            notAfter: versions.notAfter,
          })
          .from(versions)
          .where(sql`${versions.id} >= ${from} and ${versions.id} < ${to}`)
        const added = found.map(({ id, serial, notAfter }, i) => ({
          id: `rev-${serial.slice(-20)}`,
          certificateId: id,
          issuerId: "iss-1",
          serialNumber: serial,
          notAfter,
          reason: (["keyCompromise", "superseded", "cessationOfOperation"] as const)[i % 3] ?? "superseded",
          revokedBy: "bench",
          revokedAt: new Date(since.getTime() + i * 1000),
          createdAt: new Date(since.getTime() + i * 1000),
        }))
        for (let i = 0; i < added.length; i += 500) await tx.insert(revocations).values(added.slice(i, i + 500))
      })
    const name = (i: number) => `cv-${String(i).padStart(8, "0")}`
    const began = Date.now() - entries * 1000 - 86_400_000
    for (let i = 0; i < entries; i += 2000) {
      await revoke(name(i), name(Math.min(i + 2000, entries)), new Date(began + i * 1000))
    }
    if (dialect === "postgres") {
      // As autovacuum does within a minute.
      const connection = postgres(fleet.url, { max: 1 })
      await connection.unsafe("analyze certificate_revocations")
      await connection.end()
    }
    const load = async () => {
      const answer = await wired.app.fetch(new Request("http://certctl.example/.well-known/pki/crl/iss-1"), {})
      if (answer.status !== 200) throw new Error(`${answer.status}: ${await answer.text()}`)
      return (await answer.arrayBuffer()).byteLength
    }
    const measure = async (what: string) => {
      const { result, ...seen } = await besideRequests(fleet, "/api/v1/certificates/mc-00000001", load)
      rows.push(
        [
          dialect.padEnd(9),
          what.padEnd(20),
          `${(result / 2 ** 20).toFixed(1)} MiB`.padStart(9),
          `${seen.seconds.toFixed(2)} s`.padStart(9),
          `${seen.cpuSeconds.toFixed(2)} s`.padStart(9),
          `${seen.max.toFixed(0)} ms`.padStart(8),
          `${seen.worstGap.toFixed(0)} ms`.padStart(9),
          String(seen.failures).padStart(9),
        ].join(""),
      )
    }
    await measure("first time")
    await revoke(name(entries), name(entries + 1), new Date())
    await Bun.sleep(1000)
    await measure("one more entry")
    await measure("kept")
  } finally {
    await fleet.close()
  }
}

console.log(`\nbun scripts/bench/crl.bench.ts ${entries}   (${machineLine()})\n`)
console.log("dialect  what                     size     time      CPU     max  loop gap  failures")
for (const row of rows) console.log(row)
