import { expect, test } from "bun:test"
import { rmSync } from "node:fs"
import { mkdtemp } from "node:fs/promises"
import { tmpdir } from "node:os"
import { join } from "node:path"
import type { Clock } from "../clock"
import { readConfig } from "../config"
import { parseConfig } from "../connectors/config"
import { targetConnector } from "../connectors/targets/catalog"
import type { Db } from "../db/db"
import { parseCertificate, splitChain } from "../pki/certificate"
import { certificateBlocks } from "../pki/pem"
import { verifyChain } from "../pki/trust"
import { openSealer } from "../secrets/sealing"
import { onEachDialect } from "../testing/on-each-dialect"
import { insertCertificate } from "../testing/rows"
import { wire } from "../wiring"

const now = new Date("2030-06-15T10:00:00.123Z")
const clock: Clock = { now: () => now }
const dayMs = 86_400_000

/** A whole server short of its listener, as `certctl server` makes it. */
const startServer = async (db: Db) => {
  const dataDir = await mkdtemp(join(tmpdir(), "certctl-demo-"))
  const config = readConfig({ CERTCTL_DATA_DIR: dataDir, CERTCTL_DEMO_SEED: "true" })
  const sealer = await openSealer({ passphrase: "a passphrase of more than 32 bytes" })
  const wired = wire({ config, db, sealer, clock, serverId: "srv-test", caFingerprint: "" })
  try {
    await wired.prepare()
  } finally {
    rmSync(dataDir, { recursive: true, force: true })
  }
  return wired.services
}

const everything = async ({ t, read }: Db) => ({
  certificates: await read.select().from(t.certificates).orderBy(t.certificates.id),
  versions: await read.select().from(t.certificateVersions).orderBy(t.certificateVersions.id),
  mappings: await read.select().from(t.certificateTargets),
  revocations: await read.select().from(t.certificateRevocations),
  jobs: await read.select().from(t.jobs).orderBy(t.jobs.id),
  agents: await read.select().from(t.agents).orderBy(t.agents.id),
  targets: await read.select().from(t.deploymentTargets).orderBy(t.deploymentTargets.id),
  observations: await read.select().from(t.observations).orderBy(t.observations.id),
  teams: await read.select().from(t.teams),
  owners: await read.select().from(t.owners),
  profiles: await read.select().from(t.certificateProfiles),
  policies: await read.select().from(t.renewalPolicies),
  issuers: await read.select().from(t.issuers),
})

const countBy = <Row>(rows: readonly Row[], key: (row: Row) => string): Record<string, number> =>
  Object.fromEntries(Object.entries(Object.groupBy(rows, key)).map(([name, group]) => [name, group?.length ?? 0]))

onEachDialect("the demo inventory", (openDb) => {
  test("is loaded whole, once, and stays known as a demo", async () => {
    const db = await openDb()
    const services = await startServer(db)
    const rows = await everything(db)
    const counts = Object.fromEntries(Object.entries(rows).map(([name, list]) => [name, list.length]))
    expect(counts).toMatchObject({
      certificates: 32,
      versions: 16,
      mappings: 34,
      revocations: 1,
      agents: 8,
      targets: 8,
    })
    // Baseline rows are there too: a policy and the Local CA.
    expect(counts).toMatchObject({ teams: 6, owners: 6, profiles: 5, policies: 4, issuers: 2 })
    expect(countBy(rows.certificates, ({ status }) => status)).toEqual({
      Active: 22,
      Expiring: 4,
      Expired: 3,
      RenewalInProgress: 1,
      Failed: 1,
      Revoked: 1,
    })
    expect(await services.demo.isDemo()).toBe(true)
    for (const { type, config } of rows.targets) parseConfig(targetConnector(type).config, config)
    expect(Object.keys(countBy(rows.targets, ({ type }) => type))).toHaveLength(6)

    const again = await startServer(db)
    expect(await again.demo.load()).toBe("present")
    expect(await everything(db)).toEqual(rows)
  })

  test("marks every certificate as demo and says of no agent that it is online", async () => {
    const db = await openDb()
    await startServer(db)
    const { certificates, agents } = await everything(db)
    expect(new Set(certificates.map(({ tags }) => tags.demo))).toEqual(new Set(["true"]))
    expect(new Set(agents.map(({ status }) => status))).toEqual(new Set(["Offline"]))
  })

  test("holds X.509 certificates that parse, chain to a CA of the demo and agree with their rows", async () => {
    const db = await openDb()
    await startServer(db)
    const { certificates, versions } = await everything(db)
    for (const version of versions) {
      const { leafPem, chainPem } = splitChain(version.pemChain)
      const leaf = parseCertificate(leafPem)
      const certificate = certificates.find(({ id }) => id === version.certificateId)
      expect(leaf.fingerprint).toBe(version.fingerprintSha256)
      expect(leaf.serial).toBe(version.serialNumber)
      expect(leaf.notAfter).toEqual(version.notAfter)
      expect(leaf.sans.map(({ value }) => value)).toEqual(certificate?.sans ?? [])
      expect(leaf.issuerDn).toContain("Example Corp Demo CA")
      expect(verifyChain(leaf.der, certificateBlocks(chainPem), new Date(version.createdAt))).toBeNull()
    }
    const newest = new Map(versions.map((version) => [version.certificateId, version.notAfter]))
    for (const [id, notAfter] of newest) expect(certificates.find((row) => row.id === id)?.expiresAt).toEqual(notAfter)
  })

  test("tells of ninety days of jobs, of which two still wait", async () => {
    const db = await openDb()
    const { audit } = await startServer(db)
    const { jobs } = await everything(db)
    const statuses = countBy(jobs, ({ status }) => status)
    expect(Object.keys(statuses).sort()).toEqual([
      "AwaitingApproval",
      "AwaitingCSR",
      "Cancelled",
      "Completed",
      "Failed",
    ])
    expect(statuses).toMatchObject({ AwaitingApproval: 1, AwaitingCSR: 1 })
    const waiting = jobs.find(({ status }) => status === "AwaitingApproval")
    expect(await db.read.select().from(db.t.approvalRequests)).toMatchObject([
      { jobId: waiting?.id, state: "pending", profileId: "prof-high-security", requestedBy: "system" },
    ])
    const ended = jobs.flatMap(({ completedAt }) => (completedAt === null ? [] : [completedAt.getTime()]))
    expect(Math.max(...ended)).toBeLessThanOrEqual(now.getTime())
    expect(Math.min(...ended)).toBeGreaterThanOrEqual(now.getTime() - 91 * dayMs)
    const days = new Set(ended.map((at) => Math.floor(at / dayMs)))
    expect(days.size).toBeGreaterThan(45)
    const { total } = await audit.list({}, { page: 1, per_page: 1 })
    expect(total).toBeGreaterThanOrEqual(60)
  })

  test("is left alone by every loop and raises no alarm", async () => {
    const db = await openDb()
    const { renewals, processor, agents, observations, stats } = await startServer(db)
    const { observations: seen, ...before } = await everything(db)
    const { signal } = new AbortController()
    await renewals.checkAll(signal)
    await processor.process(signal)
    await processor.settleStragglers(signal)
    await processor.retry(signal)
    await processor.reap()
    await agents.markSilent(120_000)
    await observations.thin(signal)
    const { observations: seenAfter, ...after } = await everything(db)
    expect(after).toEqual(before)
    expect(seenAfter.length).toBe(seen.length)
    const nothing = { rows: [], total: 0 }
    expect(await stats.attention()).toEqual({ failedRenewals: nothing, unattended: nothing, silentAgents: nothing })
  })

  test("is not mixed with an inventory that is there already", async () => {
    const db = await openDb()
    await insertCertificate(db)
    const { demo } = await startServer(db)
    expect(await demo.isDemo()).toBe(false)
    expect((await everything(db)).certificates).toHaveLength(1)
  })
})
