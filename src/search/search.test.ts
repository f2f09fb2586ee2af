import { expect, test } from "bun:test"
import { Hono } from "hono"
import type { Db } from "../db/db"
import { ensureSearchIndex } from "../db/search-triggers"
import type { ApiEnv } from "../server/operation"
import { testApi } from "../testing/api"
import { insertRow, lists } from "../testing/lists"
import { onEachDialect } from "../testing/on-each-dialect"
import { insertAgent, insertCertificate, insertJob, insertTarget } from "../testing/rows"
import { searchRoutes } from "./search.routes"
import { searchService } from "./search.service"
import { searchStore } from "./search.store"

interface Hit {
  kind: string
  id: string
  title: string
  url: string
  match: string
  field: string
}

const opened = (db: Db) => {
  const search = searchService({ search: searchStore(db) })
  const app = testApi(new Hono<ApiEnv>().route("/search", searchRoutes(search)))
  return async (query: Record<string, string>): Promise<{ status: number; data: Hit[]; total_by_kind: object }> => {
    const answer = await app.request(`/api/v1/search?${new URLSearchParams(query)}`)
    return { status: answer.status, ...JSON.parse(await answer.text()) }
  }
}

const brief = ({ data }: { data: Hit[] }) => data.map(({ kind, id, field, match }) => `${kind} ${id} ${match} ${field}`)

const at = new Date(Date.UTC(2030, 0, 1))
const fingerprint = "9f".repeat(31)

const insertVersion = (db: Db, id: string, certificateId: string, serialNumber: string, fingerprintSha256: string) =>
  db.transaction(async (tx) => {
    const times = { notBefore: at, notAfter: at, createdAt: at }
    await tx
      .insert(db.t.certificateVersions)
      .values({ id, certificateId, serialNumber, fingerprintSha256, pemChain: "", ...times })
  })

onEachDialect("a search over everything", (openDb, dialect) => {
  test("finds any part of a name, the best match first, ignoring case", async () => {
    const db = await openDb()
    const find = opened(db)
    await insertCertificate(db, { id: "mc-1", name: "first", commonName: "web.shop.example" })
    await insertCertificate(db, {
      id: "mc-2",
      name: "second",
      commonName: "api.other",
      sans: ["a.test", "Shop.Example"],
    })
    await insertCertificate(db, { id: "mc-3", name: "third", commonName: "shop.example.com" })
    await insertCertificate(db, { id: "mc-4", name: "fourth", commonName: "elsewhere.test" })
    expect(brief(await find({ q: " SHOP.example " }))).toEqual([
      "certificate mc-2 exact sans",
      "certificate mc-3 prefix common_name",
      "certificate mc-1 substring common_name",
    ])
    expect(brief(await find({ q: "p.examp" }))).toHaveLength(3)
    expect(brief(await find({ q: "mc-4" }))).toEqual(["certificate mc-4 exact id"])
    for (const q of ["shop_example", "shop%example", 'shop"', "*", "shop.example\n", "'; --", "zzz"]) {
      expect([q, (await find({ q })).data.length]).toEqual([q, q === "shop.example\n" ? 3 : 0])
    }
  })

  test("finds a version by its number however it is written, and leads to its certificate", async () => {
    const db = await openDb()
    const find = opened(db)
    await insertCertificate(db, { id: "mc-1", commonName: "www.example" })
    await insertVersion(db, "cv-1", "mc-1", "0a1b2c3d4e5f60718293", `${fingerprint}00`)
    await insertVersion(db, "cv-2", "mc-1", "2a", "00".repeat(32))
    for (const q of ["0A:1B:2C:3D:4E:5F:60:71:82:93", "a1b2c3d4e5f60718293", "000a1b2c3d4e5f60718293"]) {
      const { data } = await find({ q })
      expect([q, data]).toMatchObject([
        q,
        [{ kind: "version", id: "cv-1", title: "www.example", url: "/certificates/mc-1", field: "serial_number" }],
      ])
      expect(data[0]?.match).toBe("exact")
    }
    expect(brief(await find({ q: `${fingerprint}00`.toUpperCase() }))).toEqual([
      "version cv-1 exact fingerprint_sha256",
    ])
    expect(brief(await find({ q: "9f:9f:9f:9f:9f" }))).toEqual(["version cv-1 prefix fingerprint_sha256"])
    expect(brief(await find({ q: "0a:1b:2c:3d" }))).toEqual(["version cv-1 prefix serial_number"])
    expect(brief(await find({ q: "002A" }))).toEqual(["version cv-2 exact serial_number"])
    expect(brief(await find({ q: "cv-2" }))).toEqual(["version cv-2 exact id"])
    expect((await find({ q: "a1b2c3d4e5f607182" })).data).toHaveLength(1)
    expect((await find({ q: "b2c3d4e5f607182" })).data).toHaveLength(0)
  })

  test("finds rows of every kind, only in the kinds that are asked for, and counts them", async () => {
    const db = await openDb()
    const find = opened(db)
    await insertCertificate(db, { id: "mc-needle" })
    await insertAgent(db, { id: "agent-needle" })
    await insertTarget(db, { id: "tgt-needle", agentId: "agent-needle" })
    await insertVersion(db, "cv-needle", "mc-needle", "77", "77")
    await insertJob(db, { id: "job-needle", type: "Renewal", status: "Running", certificateId: "mc-needle" })
    const more = [
      ["/discovered-certificates", "dc-needle", { agentId: "agent-needle" }],
      ["/issuers", "iss-needle"],
      ["/owners", "o-needle"],
      ["/teams", "t-needle"],
      ["/profiles", "prof-needle"],
      ["/policies", "pr-needle"],
      ["/renewal-policies", "rp-needle"],
      ["/agent-groups", "ag-needle"],
      ["/health-checks", "hc-needle"],
      ["/approvals", "ar-needle", { certificateId: "mc-needle", jobId: "job-needle", profileId: "prof-needle" }],
      ["/notifications", "notif-needle", { certificateId: "mc-needle" }],
      ["/audit", "audit-needle"],
    ] as const
    for (const [path, id, references] of more) {
      const list = lists.find((one) => one.path === path)
      if (list === undefined) throw new Error(path)
      await db.transaction((tx) => insertRow(tx, db.t, list.table, { id, ...list.row(id, at), ...references }))
    }
    const ids = [
      "mc",
      "dc",
      "agent",
      "tgt",
      "iss",
      "o",
      "t",
      "prof",
      "pr",
      "rp",
      "ag",
      "hc",
      "cv",
      "job",
      "ar",
      "notif",
      "audit",
    ]
    for (const prefix of ids) {
      const id = `${prefix}-needle`
      const { data } = await find({ q: id })
      expect([data[0]?.id, data[0]?.match, data[0]?.field]).toEqual([id, "exact", "id"])
      expect(data[0]?.url).toMatch(/^\/[a-z-]+(\/|\?q=)/)
    }
    const all = await find({ q: "needle" })
    expect(all.total_by_kind).toEqual({
      certificate: 1,
      discovered_certificate: 1,
      agent: 1,
      target: 1,
      issuer: 1,
      owner: 1,
      team: 1,
      profile: 1,
      policy: 1,
      renewal_policy: 1,
      agent_group: 1,
      health_check: 1,
    })
    expect(brief(await find({ q: "needle", kinds: "team, agent,nonsense" }))).toEqual([
      "agent agent-needle substring id",
      "team t-needle substring id",
    ])
    expect((await find({ q: "needle", kinds: "nonsense" })).data).toEqual([])
    expect((await find({ q: " " })).status).toBe(400)
  })

  test("follows what changes and what goes", async () => {
    const db = await openDb()
    const find = opened(db)
    await insertAgent(db, { id: "agent-1", name: "before" })
    expect((await find({ q: "before" })).data).toHaveLength(1)
    const { agents } = db.t
    await db.transaction(async (tx) => void (await tx.update(agents).set({ name: "after", hostname: "there" })))
    expect([(await find({ q: "before" })).data.length, (await find({ q: "after" })).data.length]).toEqual([0, 1])
    await db.transaction(async (tx) => void (await tx.update(agents).set({ lastHeartbeatAt: at })))
    expect((await find({ q: "there" })).data).toHaveLength(1)
    await db.transaction(async (tx) => void (await tx.delete(agents)))
    expect((await find({ q: "after" })).data).toEqual([])
  })

  test("a rolled back change leaves no trace in the index", async () => {
    const db = await openDb()
    const find = opened(db)
    const gone = db.transaction(async (tx) => {
      await tx.insert(db.t.teams).values({ id: "t-1", name: "never there", createdAt: at, updatedAt: at })
      throw new Error("no")
    })
    await expect(gone).rejects.toThrow("no")
    expect((await find({ q: "never there" })).data).toEqual([])
    await db.transaction(async (tx) => {
      await tx.insert(db.t.teams).values({ id: "t-2", name: "still there", createdAt: at, updatedAt: at })
    })
    expect(brief(await find({ q: "there" }))).toEqual(["team t-2 substring name"])
  })

  test("of more rows than are ranked the newest are shown, and whole values among the others", async () => {
    const db = await openDb()
    const find = opened(db)
    await insertCertificate(db, { id: "mc-old", name: "many" })
    for (let n = 0; n < 120; n++) {
      await insertCertificate(db, { id: `mc-${n}`, name: `one of many ${n}`, createdAt: new Date(at.getTime() + n) })
    }
    const { data, total_by_kind } = await find({ q: "many", limit: "3" })
    expect(data.map(({ id, match }) => [id, match])).toEqual([
      ["mc-old", "exact"],
      ["mc-119", "substring"],
      ["mc-118", "substring"],
    ])
    expect(total_by_kind).toEqual({ certificate: 100 })
    expect((await find({ q: "many", limit: "51" })).data).toHaveLength(5)
  })

  test("short text finds whole values", async () => {
    const db = await openDb()
    const find = opened(db)
    await insertAgent(db, { id: "agent-1", name: "a" })
    await insertAgent(db, { id: "agent-2", name: "ab" })
    await insertAgent(db, { id: "agent-3", name: "xab" })
    expect(brief(await find({ q: "A" }))[0]).toBe("agent agent-1 exact name")
    expect(brief(await find({ q: "ab" }))).toEqual(["agent agent-2 exact name"])
  })

  test("rows that were there before are indexed at the start, once", async () => {
    const db = await openDb()
    const find = opened(db)
    await insertCertificate(db, { id: "mc-1", name: "forgotten" })
    await insertCertificate(db, { id: "mc-2", name: "kept" })
    await db.transaction(async (tx) => {
      await tx.delete(db.t.searchDocs)
      await tx.delete(db.t.settings)
    })
    expect((await find({ q: "orgott" })).data).toEqual([])
    await ensureSearchIndex(db)
    await ensureSearchIndex(db)
    expect(brief(await find({ q: "forgotten" }))).toEqual(["certificate mc-1 exact name"])
    await insertCertificate(db, { id: "mc-3", name: "forgotten too" })
    expect((await find({ q: "orgott" })).data).toHaveLength(2)
    expect(await db.read.select().from(db.t.searchDocs)).toHaveLength(7)
  })

  if (dialect === "postgres") {
    test("without the trigram index everything is found all the same, and the next start makes it", async () => {
      const db = await openDb()
      const find = opened(db)
      await insertCertificate(db, { id: "mc-1", name: "shop" })
      await db.changeSchema((connection) => connection.run("drop extension pg_trgm cascade"))
      const indexes = () =>
        db.changeSchema((connection) =>
          connection.all("select 1 from pg_indexes where indexname = ?", ["idx_search_docs_text"]),
        )
      expect(await indexes()).toHaveLength(0)
      expect(brief(await find({ q: "sho" }))).toEqual(["certificate mc-1 prefix name"])
      await ensureSearchIndex(db)
      expect(await indexes()).toHaveLength(1)
      expect(brief(await find({ q: "hop" }))).toEqual(["certificate mc-1 substring name"])
    })
  }
})
