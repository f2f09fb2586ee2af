import { expect, test } from "bun:test"
import { eq } from "drizzle-orm"
import type { Db, Tx } from "../db/db"
import { operatorActor, viewerActor } from "../testing/api"
import { onEachDialect } from "../testing/on-each-dialect"
import { resourceApi, serviceParts } from "../testing/resource-api"
import { insertCertificate } from "../testing/rows"
import { policyRoutes } from "./policy.routes"
import { policyService } from "./policy.service"
import { policyStore } from "./policy.store"
import { violationService } from "./violation.service"

const setUp = (db: Db, actor?: Parameters<typeof resourceApi>[2]) => {
  const parts = serviceParts(db)
  const problems: string[] = []
  const onRowError = (id: string) => void problems.push(id)
  const policies = policyStore(db)
  const violations = violationService({ ...parts, policies, onRowError })
  const service = policyService({ ...parts, policies, violations, onRowError })
  const send = resourceApi("policies", policyRoutes(service), actor)
  const violated = async (ruleId: string): Promise<string[]> =>
    (await send("GET", `/${ruleId}/violations`)).body.data.map((row: { certificate_id: string }) => row.certificate_id)
  /** What whoever has changed the certificate `mc-1` does. */
  const judge = async (tx: Tx): Promise<void> => {
    const [certificate] = await tx.select().from(db.t.certificates).where(eq(db.t.certificates.id, "mc-1"))
    if (certificate !== undefined) await violations.judge(tx, [certificate])
  }
  return { ...parts, violations, judge, send, violated, problems }
}

const environments = {
  id: "pr-env",
  name: "environments",
  type: "AllowedEnvironments",
  config: { allowed: ["production"] },
}

const setEnvironment = (db: Db, id: string, environment: string) =>
  db.transaction(async (tx) => {
    await tx.update(db.t.certificates).set({ environment }).where(eq(db.t.certificates.id, id))
  })

onEachDialect("policy rules", (openDb) => {
  test("are created, shown, changed key by key and deleted, each with its audit event", async () => {
    const { send, actionsOn } = setUp(await openDb())
    const created = await send("POST", "", { name: "issuers", type: "AllowedIssuers" })
    expect(created.status).toBe(201)
    const { id, created_at, updated_at } = created.body
    expect(id).toMatch(/^pr-.{10,}$/)
    const defaults = { config: {}, enabled: true, severity: "Warning" }
    expect(created.body).toEqual({ id, name: "issuers", type: "AllowedIssuers", ...defaults, created_at, updated_at })

    const changed = await send("PUT", `/${id}`, { severity: "Critical" })
    expect(changed).toMatchObject({ status: 200, body: { name: "issuers", severity: "Critical", created_at } })
    expect((await send("PUT", `/${id}`, { enabled: false })).body).toMatchObject({
      severity: "Critical",
      enabled: false,
    })
    expect((await send("GET", "")).body).toMatchObject({ total: 1, page: 1, data: [{ id }] })
    expect((await send("GET", `/${id}`)).body.enabled).toBe(false)
    expect(await send("DELETE", `/${id}`)).toEqual({ status: 204, body: null })
    expect((await send("DELETE", `/${id}`)).status).toBe(404)
    expect(await actionsOn(id)).toEqual([
      "policy_rule_created",
      "policy_rule_updated",
      "policy_rule_updated",
      "policy_rule_deleted",
    ])
  })

  test("are refused with the name of the wrong field", async () => {
    const { send } = setUp(await openDb())
    const refusal = async (body: object) => {
      const { status, body: answer } = await send("POST", "", body)
      return `${status} ${answer.message}`
    }
    const { name: _, ...nameless } = environments
    expect(await refusal(nameless)).toBe("400 name is required")
    expect(await refusal({ name: "x" })).toBe("400 type is required")
    expect(await refusal({ ...environments, type: "allowedEnvironments" })).toMatch(/^400 type must be one of Allowed/)
    expect(await refusal({ ...environments, severity: "warning" })).toMatch(/^400 severity must be one of Warning/)
    expect(await refusal({ ...environments, config: { allowed: "production" } })).toBe(
      "400 config.allowed must be a list",
    )
    await send("POST", "", environments)
    expect(await send("PUT", "/pr-env", { config: { allowed: [7] } })).toMatchObject({
      status: 400,
      body: { message: "config.allowed[0] must be a string" },
    })
    expect(await send("PUT", "/pr-env", { type: "AllowedIssuers" })).toMatchObject({
      status: 400,
      body: { message: "config.allowed_issuer_ids is required for a rule of type AllowedIssuers" },
    })
    expect((await send("PUT", "/pr-env", { severity: "bad" })).status).toBe(400)
    const other = { type: "AllowedIssuers", config: { allowed_issuer_ids: ["iss-1"] } }
    expect((await send("PUT", "/pr-env", other)).body).toMatchObject(other)
  })

  test("have unique names and ids, and are not found under an unknown one", async () => {
    const { send } = setUp(await openDb())
    await send("POST", "", environments)
    expect((await send("POST", "", { ...environments, id: "pr-2" })).status).toBe(409)
    expect((await send("POST", "", { ...environments, name: "other" })).status).toBe(409)
    await send("POST", "", { ...environments, id: "pr-2", name: "second" })
    expect((await send("PUT", "/pr-2", { name: "environments" })).status).toBe(409)
    for (const [method, path] of [
      ["GET", "/pr-none"],
      ["PUT", "/pr-none"],
      ["DELETE", "/pr-none"],
      ["GET", "/pr-none/violations"],
      ["GET", "/pr-none/violations?page_size=5"],
    ] as const) {
      expect((await send(method, path)).status).toBe(404)
    }
  })

  test("are written by operators and read by viewers", async () => {
    const db = await openDb()
    const asViewer = setUp(db, viewerActor).send
    expect((await asViewer("GET", "")).status).toBe(200)
    expect((await asViewer("POST", "", environments)).status).toBe(403)
    expect((await setUp(db, operatorActor).send("POST", "", environments)).status).toBe(201)
  })
})

onEachDialect("policy violations", (openDb) => {
  test("appear for every certificate when a rule is created, and follow what the rule becomes", async () => {
    const db = await openDb()
    const { send, violated, actionsOn, audit } = setUp(db)
    await insertCertificate(db, { id: "mc-prod", environment: "production" })
    await insertCertificate(db, { id: "mc-dev", environment: "development" })
    await insertCertificate(db, { id: "mc-gone", environment: "development", status: "Archived" })
    await send("POST", "", environments)
    const listed = (await send("GET", "/pr-env/violations")).body
    expect(listed).toMatchObject({ total: 1, page: 1, per_page: 50 })
    const { id, created_at } = listed.data[0]
    expect(listed.data[0]).toEqual({
      id,
      certificate_id: "mc-dev",
      rule_id: "pr-env",
      message: "environment development is not allowed; allowed: production",
      severity: "Warning",
      created_at,
    })
    expect(id).toMatch(/^pv-/)
    const [event] = (await audit.list({ action: "policy_violation_detected" }, { page: 1, per_page: 5 })).rows
    expect(event).toMatchObject({ actor: "system", resourceType: "certificate", resourceId: "mc-dev" })
    expect(event?.details).toEqual({
      rule_id: "pr-env",
      rule_name: "environments",
      severity: "Warning",
      message: listed.data[0].message,
    })

    await send("PUT", "/pr-env", { severity: "Error", config: { allowed: ["production", "test"] } })
    expect((await send("GET", "/pr-env/violations")).body.data).toEqual([
      { ...listed.data[0], severity: "Error", message: expect.stringContaining("production, test") },
    ])
    expect(await actionsOn("mc-dev")).toEqual(["policy_violation_detected"])

    await send("PUT", "/pr-env", { config: { allowed: ["development"] } })
    expect(await violated("pr-env")).toEqual(["mc-prod"])
    await send("PUT", "/pr-env", { enabled: false })
    expect(await violated("pr-env")).toEqual([])
    await send("PUT", "/pr-env", { enabled: true })
    expect(await violated("pr-env")).toEqual(["mc-prod"])
    await send("DELETE", "/pr-env")
    expect(await db.read.select().from(db.t.policyViolations)).toEqual([])
  })

  test("are set right in the transaction that changed the certificate", async () => {
    const db = await openDb()
    const { send, judge, violated } = setUp(db)
    await send("POST", "", environments)
    await insertCertificate(db, { id: "mc-1", environment: "development" })
    const changed = () => db.transaction(judge)
    await changed()
    await changed()
    expect(await violated("pr-env")).toEqual(["mc-1"])
    await setEnvironment(db, "mc-1", "production")
    await changed()
    expect(await violated("pr-env")).toEqual([])
    await setEnvironment(db, "mc-1", "")
    const failed = db.transaction(async (tx) => {
      await judge(tx)
      throw new Error("the change did not happen")
    })
    await expect(failed).rejects.toThrow("did not happen")
    expect(await violated("pr-env")).toEqual([])
  })

  test("judge the newest version only", async () => {
    const db = await openDb()
    const { send, judge, violated } = setUp(db)
    await send("POST", "", { id: "pr-life", name: "life", type: "CertificateLifetime", config: { max_days: 90 } })
    await insertCertificate(db, { id: "mc-1" })
    const issue = (id: string, createdAt: string, notAfter: string) =>
      db.transaction(async (tx) => {
        await tx.insert(db.t.certificateVersions).values({
          id,
          certificateId: "mc-1",
          serialNumber: id,
          fingerprintSha256: id,
          pemChain: "",
          notBefore: new Date("2030-01-01T00:00:00Z"),
          notAfter: new Date(notAfter),
          createdAt: new Date(createdAt),
        })
        await judge(tx)
      })
    await issue("cv-1", "2030-01-01T00:00:00Z", "2031-01-01T00:00:00Z")
    expect(await violated("pr-life")).toEqual(["mc-1"])
    await issue("cv-2", "2030-01-02T00:00:00Z", "2030-03-01T00:00:00Z")
    expect(await violated("pr-life")).toEqual([])
    await issue("cv-0", "2029-12-31T00:00:00Z", "2032-01-01T00:00:00Z")
    expect(await violated("pr-life")).toEqual([])
  })

  test("come and go with time, by the sweep", async () => {
    const db = await openDb()
    const { send, violations, violated } = setUp(db)
    const rule = { id: "pr-lead", name: "lead", type: "RenewalLeadTime", config: { lead_time_days: 14 } }
    await send("POST", "", rule)
    await insertCertificate(db, { id: "mc-near", expiresAt: new Date("2030-01-10T00:00:00Z") })
    await insertCertificate(db, { id: "mc-far", expiresAt: new Date("2031-01-10T00:00:00Z") })
    await insertCertificate(db, { id: "mc-past", expiresAt: new Date("2029-12-10T00:00:00Z") })
    await violations.sweep()
    expect(await violated("pr-lead")).toEqual(["mc-near"])
    const expired = new Date("2029-12-31T00:00:00Z")
    await db.transaction(async (tx) => {
      await tx.update(db.t.certificates).set({ expiresAt: expired }).where(eq(db.t.certificates.id, "mc-near"))
    })
    await violations.sweep()
    expect(await violated("pr-lead")).toEqual([])
  })

  test("are found over several pages of certificates, and a pass over what is right writes nothing", async () => {
    const db = await openDb()
    const { send, violations, violated, audit } = setUp(db)
    await insertCertificate(db, { id: "mc-0" })
    await db.transaction(async (tx) => {
      const [template] = await tx.select().from(db.t.certificates)
      if (template === undefined) throw new Error("no certificate to copy")
      const copies = Array.from({ length: 450 }, (_, i) => ({ ...template, id: `mc-${i + 1}`, name: `copy ${i}` }))
      for (const half of [copies.slice(0, 225), copies.slice(225)]) await tx.insert(db.t.certificates).values(half)
    })
    await send("POST", "", environments)
    const page = await send("GET", "/pr-env/violations?per_page=500")
    expect(page.body).toMatchObject({ total: 451 })
    const count = async () =>
      (await audit.list({ action: "policy_violation_detected" }, { page: 1, per_page: 1 })).total
    expect(await count()).toBe(451)
    await violations.sweep()
    expect(await count()).toBe(451)

    expect((await send("GET", "/pr-env/violations?q=MC-4")).body.total).toBe(62)
    const seen = new Set<string>()
    for (let path = "?page_size=200"; path !== ""; ) {
      const { body } = await send("GET", `/pr-env/violations${path}`)
      expect(body).toMatchObject({ total: 451, page_size: 200 })
      for (const row of body.data) seen.add(row.certificate_id)
      path = body.next_cursor === undefined ? "" : `?page_size=200&cursor=${body.next_cursor}`
    }
    expect(seen.size).toBe(451)

    const ended = new AbortController()
    ended.abort()
    await setEnvironment(db, "mc-0", "production")
    await violations.sweep({ signal: ended.signal })
    expect(await violated("pr-env")).toHaveLength(50)
  })

  test("are found by all other rules when one cannot be read", async () => {
    const db = await openDb()
    const { send, judge, violated, problems } = setUp(db)
    await send("POST", "", environments)
    await insertCertificate(db, { id: "mc-1" })
    await db.transaction(async (tx) => {
      const stamps = { createdAt: new Date(), updatedAt: new Date() }
      await tx
        .insert(db.t.policyRules)
        .values({ id: "pr-odd", name: "odd", type: "FromTheFuture", config: {}, ...stamps })
    })
    await db.transaction(judge)
    expect(await violated("pr-env")).toEqual(["mc-1"])
    expect(problems).toEqual(["pr-odd"])
  })

  test("of a rule that was disabled behind the sweep's back are removed by it", async () => {
    const db = await openDb()
    const { send, violations, violated } = setUp(db)
    await insertCertificate(db, { id: "mc-1" })
    await send("POST", "", environments)
    expect(await violated("pr-env")).toEqual(["mc-1"])
    await db.transaction(async (tx) => void (await tx.update(db.t.policyRules).set({ enabled: false })))
    await violations.sweep()
    expect(await violated("pr-env")).toEqual([])
  })

  test("wait for a certificate that somebody else is changing", async () => {
    const db = await openDb()
    const { send, violations, violated } = setUp(db)
    await insertCertificate(db, { id: "mc-1" })
    await db.transaction(async (tx) => {
      const stamps = { createdAt: new Date(), updatedAt: new Date() }
      const { id, name, type, config } = environments
      await tx.insert(db.t.policyRules).values({ id, name, type, config, ...stamps })
    })
    const { promise: held, resolve: hold } = Promise.withResolvers<void>()
    const change = db.transaction(async (tx) => {
      await tx.update(db.t.certificates).set({ environment: "test" })
      hold()
      // Long enough for the sweep to meet the lock; it is right in either order.
      for (let i = 0; i < 20; i += 1) await tx.select().from(db.t.certificates)
    })
    await held
    await Promise.all([change, violations.sweep()])
    await violations.sweep()
    expect(await violated("pr-env")).toEqual(["mc-1"])
    expect((await send("GET", "/pr-env/violations")).body.data[0].message).toContain("environment test is not allowed")
  })
})
