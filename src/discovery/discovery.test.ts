import { expect, test } from "bun:test"
import type { Hono } from "hono"
import type { Actor } from "../access/actor"
import type { Db } from "../db/db"
import { AppError } from "../errors"
import type { ApiEnv } from "../server/operation"
import { agentActor, operatorActor, viewerActor } from "../testing/api"
import { onEachDialect } from "../testing/on-each-dialect"
import { resourceApi, serviceParts } from "../testing/resource-api"
import { insertAgent, insertCertificate } from "../testing/rows"
import {
  discoveredCertificateRoutes,
  discoveryReportRoutes,
  discoveryScanRoutes,
  discoverySummaryRoutes,
} from "./discovery.routes"
import { discoveryService } from "./discovery.service"
import { discoveryStore } from "./discovery.store"

const setUp = (db: Db, actor?: Actor) => {
  const parts = serviceParts(db)
  const discoveries = discoveryService({
    ...parts,
    discoveries: discoveryStore(db),
    async demandActiveAgent(id) {
      const agent = (await db.read.select().from(db.t.agents)).find((row) => row.id === id)
      if (agent === undefined) throw new AppError("not_found", `agent ${id} does not exist`)
      if (agent.retiredAt !== null) throw new AppError("gone", `agent ${id} was retired`)
    },
  })
  const under = (base: string, routes: Hono<ApiEnv>) => resourceApi(base, routes, actor)
  const reports = under("agents", discoveryReportRoutes(discoveries))
  return {
    ...parts,
    report: (body: object, agentId = "agent-1") => reports("POST", `/${agentId}/discoveries`, body),
    send: under("discovered-certificates", discoveredCertificateRoutes(discoveries)),
    scans: under("discovery-scans", discoveryScanRoutes(discoveries)),
    summary: under("discovery-summary", discoverySummaryRoutes(discoveries)),
  }
}

const fingerprint = (n: number): string => n.toString(16).padStart(64, "0")

const entry = (n: number, more: object = {}) => ({
  fingerprint_sha256: fingerprint(n),
  common_name: `host${n}.example.com`,
  source_path: `/etc/ssl/${n}.pem`,
  ...more,
})

const pem = "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n"
const key = "-----BEGIN PRIVATE KEY-----\nc2VjcmV0\n-----END PRIVATE KEY-----\n"

onEachDialect("a discovery report", (openDb) => {
  test("becomes a scan and its certificates, each as it was found", async () => {
    const db = await openDb()
    const { report, send, scans, summary, actionsOn, audit } = setUp(db)
    await insertAgent(db, { id: "agent-1" })
    const full = entry(1, {
      sans: ["host1.example.com", "10.0.0.1"],
      serial_number: "0AFF",
      issuer_dn: "CN=CA",
      subject_dn: "CN=host1",
      not_before: "2029-01-01T00:00:00Z",
      not_after: "2031-01-01T00:00:00Z",
      key_algorithm: "ECDSA",
      key_size: 256,
      is_ca: false,
      pem_data: key + pem,
      source_format: "PEM",
    })
    const sent = await report({
      agent_id: "agent-other",
      directories: ["/etc/ssl"],
      certificates: [full],
      errors: null,
      scan_duration_ms: 1500,
    })
    expect(sent.status).toBe(202)
    const scan = sent.body
    expect(scan).toMatchObject({
      agent_id: "agent-1",
      directories: ["/etc/ssl"],
      certificates_found: 1,
      certificates_new: 1,
      errors_count: 0,
      scan_duration_ms: 1500,
    })
    expect(scan.id).toMatch(/^ds-/)
    expect(Date.parse(scan.completed_at) - Date.parse(scan.started_at)).toBe(1500)
    const { body } = await send("GET", "")
    expect(body).toMatchObject({ total: 1, page: 1 })
    const { id, first_seen_at } = body.data[0]
    const times = {
      first_seen_at,
      last_seen_at: first_seen_at,
      created_at: first_seen_at,
      updated_at: first_seen_at,
    }
    expect(body.data[0]).toEqual({
      ...full,
      id,
      serial_number: "0aff",
      not_before: "2029-01-01T00:00:00.000Z",
      not_after: "2031-01-01T00:00:00.000Z",
      pem_data: pem,
      agent_id: "agent-1",
      discovery_scan_id: scan.id,
      status: "Unmanaged",
      ...times,
    })
    expect((await send("GET", `/${id}`)).body).toEqual(body.data[0])
    expect((await scans("GET", "")).body).toMatchObject({ total: 1, data: [scan] })
    expect((await summary("GET", "")).body).toEqual({ Unmanaged: 1, Managed: 0, Dismissed: 0 })
    expect(await actionsOn(scan.id)).toEqual(["discovery_scan_completed"])
    const [event] = (await audit.list({ resourceId: scan.id }, { page: 1, per_page: 1 })).rows
    expect(event?.details).toEqual({ agent_id: "agent-1", found: 1, new: 1, errors: 0 })
  })

  test("of something seen before refreshes when it was seen and nothing else", async () => {
    const db = await openDb()
    const { report, send } = setUp(db)
    await insertAgent(db, { id: "agent-1" })
    await insertAgent(db, { id: "agent-2" })
    await report({ certificates: [entry(1)] })
    const [first] = (await send("GET", "")).body.data
    await send("POST", `/${first.id}/dismiss`)
    const again = await report({ certificates: [entry(1, { common_name: "other" }), entry(2)] })
    expect(again.body).toMatchObject({ certificates_found: 2, certificates_new: 1 })
    const second = (await send("GET", `/${first.id}`)).body
    expect(second).toMatchObject({
      common_name: "host1.example.com",
      status: "Dismissed",
      first_seen_at: first.first_seen_at,
      discovery_scan_id: again.body.id,
    })
    expect(second.last_seen_at > first.last_seen_at).toBe(true)
    const elsewhere = await report({ certificates: [entry(1), entry(1, { source_path: "/opt/1.pem" })] }, "agent-2")
    expect(elsewhere.body.certificates_new).toBe(2)
    expect((await send("GET", "?agent_id=agent-2")).body.total).toBe(2)
  })

  test("with entries that cannot be used counts them as errors and keeps the others", async () => {
    const db = await openDb()
    const { report, send } = setUp(db)
    await insertAgent(db, { id: "agent-1" })
    const { fingerprint_sha256: _, ...without } = entry(1)
    const { status, body } = await report({
      certificates: [
        without,
        entry(2, { fingerprint_sha256: "not hex" }),
        entry(3, { source_path: `/${"x".repeat(3000)}` }),
        entry(4, { not_before: "yesterday", not_after: "", key_size: 2048.7, common_name: "nul\0byte", sans: null }),
        entry(4, { fingerprint_sha256: fingerprint(4).toUpperCase() }),
      ],
      errors: ["/etc/ssl/private: permission denied"],
      scan_duration_ms: -5,
    })
    expect(status).toBe(202)
    expect(body).toMatchObject({
      certificates_found: 2,
      certificates_new: 1,
      errors_count: 4,
      directories: [],
      scan_duration_ms: 0,
    })
    const listed = (await send("GET", "")).body
    expect(listed.total).toBe(1)
    expect(listed.data[0]).toMatchObject({ fingerprint_sha256: fingerprint(4), source_path: "/etc/ssl/4.pem" })
    expect(listed.data[0]).not.toHaveProperty("not_before")
  })

  test("is refused when it is empty, when it is no report, and from agents that are unknown or retired", async () => {
    const db = await openDb()
    const { report } = setUp(db)
    await insertAgent(db, { id: "agent-1" })
    await insertAgent(db, { id: "agent-old", retiredAt: new Date() })
    expect((await report({})).status).toBe(400)
    expect((await report({ certificates: [], errors: [] })).status).toBe(400)
    expect((await report({ certificates: "all" })).body.message).toBe("certificates must be a list")
    expect((await report({ errors: ["x"] })).status).toBe(202)
    expect((await report({ errors: ["x"] }, "agent-none")).status).toBe(404)
    expect((await report({ errors: ["x"] }, "agent-old")).status).toBe(410)
    expect((await report({ errors: ["x".repeat(1_100_000)] })).status).toBe(413)
  })

  test("is taken from the agent's own key for its own id, and from no viewer", async () => {
    const db = await openDb()
    await insertAgent(db, { id: "agent-1" })
    await insertAgent(db, { id: "agent-2" })
    const own = setUp(db, agentActor("agent-1"))
    expect((await own.report({ errors: ["x"] })).status).toBe(202)
    expect((await own.report({ errors: ["x"] }, "agent-2")).status).toBe(403)
    expect((await own.send("GET", "")).status).toBe(403)
    expect((await setUp(db, operatorActor).report({ errors: ["x"] })).status).toBe(202)
    const viewer = setUp(db, viewerActor)
    expect((await viewer.report({ errors: ["x"] })).status).toBe(403)
    expect((await viewer.send("GET", "")).status).toBe(200)
    expect((await viewer.send("POST", "/dc-1/dismiss")).status).toBe(403)
  })

  test("may come twice at the same moment", async () => {
    const db = await openDb()
    const { report, send } = setUp(db)
    await insertAgent(db, { id: "agent-1" })
    const many = Array.from({ length: 120 }, (_, n) => entry(n))
    const answers = await Promise.all([report({ certificates: many }), report({ certificates: many.toReversed() })])
    expect(answers.map(({ status }) => status)).toEqual([202, 202])
    expect(answers.reduce((sum, { body }) => sum + body.certificates_new, 0)).toBe(120)
    expect((await send("GET", "")).body.total).toBe(120)
  })
})

onEachDialect("discovered certificates", (openDb) => {
  test("are claimed for a managed certificate, dismissed, and claimed again", async () => {
    const db = await openDb()
    const { report, send, summary, actionsOn } = setUp(db)
    await insertAgent(db, { id: "agent-1" })
    await insertCertificate(db, { id: "mc-1" })
    await insertCertificate(db, { id: "mc-2" })
    await insertCertificate(db, { id: "mc-old", status: "Archived" })
    await report({ certificates: [entry(1)] })
    const [{ id }] = (await send("GET", "")).body.data
    const claim = (body: object) => send("POST", `/${id}/claim`, body)

    expect(await claim({})).toMatchObject({ status: 400, body: { message: "managed_certificate_id is required" } })
    expect((await claim({ managed_certificate_id: "" })).body.message).toBe("managed_certificate_id is required")
    expect((await claim({ managed_certificate_id: "mc-none" })).status).toBe(400)
    expect((await claim({ managed_certificate_id: "mc-old" })).status).toBe(400)
    const claimed = { status: 200, body: { status: "claimed", message: "linked to mc-1" } }
    expect(await claim({ managed_certificate_id: "mc-1" })).toEqual(claimed)
    expect(await claim({ managed_certificate_id: "mc-1" })).toEqual(claimed)
    expect(await claim({ managed_certificate_id: "mc-2" })).toMatchObject({
      status: 400,
      body: { message: `discovered certificate ${id} is claimed by mc-1; dismiss it first` },
    })
    expect((await send("GET", `/${id}`)).body).toMatchObject({ status: "Managed", managed_certificate_id: "mc-1" })

    const dismissed = await send("POST", `/${id}/dismiss`)
    expect(dismissed).toMatchObject({ status: 200, body: { status: "dismissed" } })
    expect((await send("POST", `/${id}/dismiss`)).status).toBe(200)
    const shown = (await send("GET", `/${id}`)).body
    expect(shown.status).toBe("Dismissed")
    expect(shown.dismissed_at).toBeString()
    expect(shown).not.toHaveProperty("managed_certificate_id")
    expect((await summary("GET", "")).body).toEqual({ Unmanaged: 0, Managed: 0, Dismissed: 1 })

    expect((await claim({ managed_certificate_id: "mc-2" })).status).toBe(200)
    expect((await send("GET", `/${id}`)).body).not.toHaveProperty("dismissed_at")
    expect(await actionsOn(id)).toEqual([
      "discovery_cert_claimed",
      "discovery_cert_dismissed",
      "discovery_cert_claimed",
    ])
  })

  test("are not found under an unknown id", async () => {
    const db = await openDb()
    const { send } = setUp(db)
    await insertCertificate(db, { id: "mc-1" })
    expect((await send("GET", "/dc-none")).status).toBe(404)
    expect((await send("POST", "/dc-none/dismiss")).status).toBe(404)
    expect((await send("POST", "/dc-none/claim", { managed_certificate_id: "mc-1" })).status).toBe(404)
  })

  test("are filtered, searched and paged in both ways", async () => {
    const db = await openDb()
    const { report, send, scans } = setUp(db)
    await insertAgent(db, { id: "agent-1" })
    await insertAgent(db, { id: "agent-2" })
    for (const n of [1, 2, 3]) await report({ certificates: [entry(n)], directories: [`/srv/${n}`] })
    await report({ certificates: [entry(4, { common_name: "50%_Off" })] }, "agent-2")
    const names = async (query: string): Promise<string[]> =>
      (await send("GET", query)).body.data.map((row: { source_path: string }) => row.source_path)
    expect(await names("?agent_id=agent-1")).toEqual(["/etc/ssl/3.pem", "/etc/ssl/2.pem", "/etc/ssl/1.pem"])
    expect(await names("?q=HOST2")).toEqual(["/etc/ssl/2.pem"])
    expect(await names("?q=50%25_o")).toEqual(["/etc/ssl/4.pem"])
    expect(await names("?q=%25")).toEqual(["/etc/ssl/4.pem"])
    expect((await send("GET", "?q=%00")).status).toBe(400)
    expect(await names("?status=Managed")).toEqual([])
    expect(await names("?status=nonsense")).toEqual([])
    await report({ certificates: [entry(1)] })
    expect(await names("?per_page=2")).toEqual(["/etc/ssl/1.pem", "/etc/ssl/4.pem"])

    const first = (await send("GET", "?page_size=3")).body
    expect(first).toMatchObject({ total: 4, page_size: 3 })
    expect(first.data[0].source_path).toBe("/etc/ssl/4.pem")
    const last = (await send("GET", `?page_size=3&cursor=${first.next_cursor}`)).body
    expect(last.data.map((row: { source_path: string }) => row.source_path)).toEqual(["/etc/ssl/1.pem"])
    expect(last).not.toHaveProperty("next_cursor")

    expect((await scans("GET", "?agent_id=agent-2")).body.total).toBe(1)
    expect((await scans("GET", "?q=srv/2")).body.total).toBe(1)
    const scanPage = (await scans("GET", "?page_size=4")).body
    expect(scanPage).toMatchObject({ total: 5, page_size: 4 })
    expect((await scans("GET", `?page_size=4&cursor=${scanPage.next_cursor}`)).body.data).toHaveLength(1)
  })
})
