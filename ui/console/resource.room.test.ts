import { expect, test } from "bun:test"
import { type FormFields, openConsole } from "../../src/testing/console"
import { onEachDialect } from "../../src/testing/on-each-dialect"
import { insertAgent, insertCertificate } from "../../src/testing/rows"

interface Specimen {
  readonly path: string
  /** A complete form, and the field that is left out or wrong in the bad one. */
  readonly good: FormFields
  readonly bad: FormFields
  readonly badField: string
  /** Says in the list that it was changed. */
  readonly changed: FormFields
  readonly shown: string
}

const specimens: readonly Specimen[] = [
  {
    path: "/teams",
    good: { name: "Platform", description: "runs it" },
    bad: { name: "", description: "typed before" },
    badField: "name",
    changed: { name: "Platform two", description: "runs it" },
    shown: "Platform two",
  },
  {
    path: "/owners",
    good: { name: "Ada", email: "ada@example.com", team_id: "" },
    bad: { name: "Ada", email: "nobody at home" },
    badField: "email",
    changed: { name: "Ada", email: "ada@example.org", team_id: "" },
    shown: "ada@example.org",
  },
  {
    path: "/profiles",
    good: {
      name: "Web",
      key_ecdsa: "384",
      ttl: "90",
      ttl_unit: "86400",
      allowed_ekus: ["serverAuth"],
      enabled: "true",
    },
    bad: { name: "Web", ttl: "2", ttl_unit: "86400", allow_short_lived: "true" },
    badField: "ttl",
    changed: { name: "Web", key_rsa: "3072", ttl: "30", ttl_unit: "86400", enabled: "true" },
    shown: "RSA 3072+",
  },
  {
    path: "/renewal-policies",
    good: {
      name: "Standard",
      renewal_window_days: "30",
      auto_renew: "true",
      max_retries: "3",
      retry_interval_seconds: "3600",
      alert_thresholds_days: "30, 7",
      critical_days: "7",
    },
    bad: { name: "Standard", renewal_window_days: "1000", max_retries: "3", retry_interval_seconds: "3600" },
    badField: "renewal_window_days",
    changed: {
      name: "Standard",
      renewal_window_days: "14",
      max_retries: "0",
      retry_interval_seconds: "60",
      alert_thresholds_days: "5",
    },
    shown: "after approval",
  },
  {
    path: "/agent-groups",
    good: { name: "Edge", match_os: "linux", match_ip_cidr: "10.0.0.0/8", enabled: "true" },
    bad: { name: "Edge", match_ip_cidr: "10.0.0.0/99" },
    badField: "match_ip_cidr",
    changed: { name: "Edge", match_os: "windows", enabled: "true" },
    shown: "OS windows",
  },
  {
    path: "/policies",
    good: {
      type: "AllowedDomains",
      name: "Ours",
      severity: "Error",
      enabled: "true",
      "config.allowed_domains": "example.com\n*.example.com",
    },
    bad: { type: "AllowedDomains", name: "Ours", severity: "Error", "config.allowed_domains": "not a domain" },
    badField: "config-allowed_domains",
    changed: { name: "Ours", severity: "Critical", enabled: "true", "config.allowed_domains": "example.org" },
    shown: "Names within example.org",
  },
]

onEachDialect("pages that make, change and delete", (openDb) => {
  const open = async () => {
    const db = await openDb()
    return { db, ...(await openConsole(db)) }
  }
  /** The id in the link to the form of the only row. */
  const idIn = (path: string, text: string): string => new RegExp(`href="${path}/([^"/]+)/edit"`).exec(text)?.[1] ?? ""

  for (const { path, good, bad, badField, changed, shown } of specimens) {
    test(`${path}: a row comes, changes and goes by forms, and a wrong form keeps what was typed`, async () => {
      const { visitor } = await open()
      const operator = await visitor("operator")
      expect((await operator.get(path)).text).toContain(`${path}/new`)
      const type = typeof good.type === "string" ? `?type=${good.type}` : ""
      expect((await operator.get(`${path}/new${type}`)).status).toBe(200)

      const refused = await operator.post(`${path}/new`, bad)
      expect(refused.status).toBe(400)
      expect(refused.text).toContain(`id="${badField}-error"`)
      for (const [name, value] of Object.entries(bad)) {
        if (name !== "type" && typeof value === "string" && value !== "true") expect(refused.text).toContain(value)
      }

      expect(await operator.post(`${path}/new`, good)).toMatchObject({ status: 303 })
      const list = await operator.get(path)
      const id = idIn(path, list.text)
      expect(list.text).toContain(String(good.name))
      const form = await operator.get(`${path}/${id}/edit`)
      expect(form.text).toContain(`value="${good.name}"`)

      const saved = await operator.post(`${path}/${id}/edit`, changed)
      expect(saved).toMatchObject({ status: 303 })
      expect(saved.location).toContain("notice=saved")
      expect((await operator.get(path)).text).toContain(shown)

      expect((await operator.get(`${path}/${id}/delete`)).text).toContain("Delete ")
      expect(await operator.post(`${path}/${id}/delete`)).toMatchObject({
        status: 303,
        location: `${path}?notice=deleted`,
      })
      expect((await operator.get(`${path}/${id}/edit`)).status).toBe(404)
    })

    test(`${path}: a viewer reads, is offered nothing and may do nothing`, async () => {
      const { visitor } = await open()
      await (await visitor("admin")).post(`${path}/new`, good)
      const viewer = await visitor("viewer")
      const { status, text } = await viewer.get(path)
      expect(status).toBe(200)
      expect(text).toContain(String(good.name))
      for (const offer of ["/new", "/edit", "/delete", "/disable"]) expect(text).not.toContain(`${path}${offer}`)
      expect(text).not.toContain("/edit")
      for (const sent of [`${path}/new`, `${path}/x/edit`, `${path}/x/delete`]) {
        expect(`${sent} ${(await viewer.post(sent, good)).status}`).toBe(`${sent} 403`)
        expect(`${sent} ${(await viewer.get(sent)).status}`).toBe(`${sent} 403`)
      }
    })
  }

  test("a taken name is told beside the name", async () => {
    const { visitor } = await open()
    const operator = await visitor("operator")
    await operator.post("/teams/new", { name: "Platform" })
    const again = await operator.post("/teams/new", { name: "Platform", description: "typed" })
    expect(again.status).toBe(409)
    expect(again.text).toContain('id="name-error"')
    expect(again.text).toContain("exists already")
    expect(again.text).toContain("typed")
  })

  test("what others still refer to stays, and the page says why", async () => {
    const { db, visitor } = await open()
    await insertCertificate(db)
    const operator = await visitor("operator")
    for (const path of ["/teams/t-1", "/owners/o-1", "/renewal-policies/rp-1"]) {
      const refused = await operator.post(`${path}/delete`)
      expect(refused.status).toBe(409)
      expect(refused.text).toMatch(/still (referred to|used) by/)
    }
    const { text } = await operator.get("/teams")
    expect(text).toContain("/certificates?team_id=t-1")
  })

  test("lists are searched, and say so when nothing is found", async () => {
    const { visitor } = await open()
    const operator = await visitor("operator")
    for (const name of ["Platform", "Payments"]) await operator.post("/teams/new", { name })
    const found = await operator.get("/teams?q=pay")
    expect(found.text).toContain("Payments")
    expect(found.text).not.toContain(">Platform<")
    expect((await operator.get("/teams?q=nothing")).text).toContain("No team matches")
  })

  test("a rule shows who violates it, and finds nothing while it is disabled", async () => {
    const { db, visitor } = await open()
    await insertCertificate(db, { id: "mc-1", commonName: "shop.example.com", sans: ["shop.example.com"] })
    const operator = await visitor("operator")
    const made = await operator.post("/policies/new", {
      type: "AllowedDomains",
      name: "Ours",
      severity: "Error",
      enabled: "true",
      "config.allowed_domains": "example.org",
    })
    const page = made.location.split("?")[0] ?? ""
    const { text } = await operator.get(page)
    expect(text).toContain("shop.example.com")
    expect(text).toContain("not among the allowed domains")
    expect((await operator.post(`${page}/disable`)).location).toContain("notice=disabled")
    expect((await operator.get(page)).text).toContain("The rule is disabled")
    expect((await (await visitor("viewer")).post(`${page}/enable`)).status).toBe(403)
  })

  test("a group shows the agents that fit its criteria", async () => {
    const { db, visitor, services } = await open()
    await insertAgent(db, { id: "agent-1", name: "edge-1", os: "linux" })
    await insertAgent(db, { id: "agent-2", name: "win-1", os: "windows" })
    const operator = await visitor("operator")
    const made = await operator.post("/agent-groups/new", { name: "Edge", match_os: "linux", enabled: "true" })
    const { text } = await operator.get(made.location)
    expect(text).toContain("edge-1")
    expect(text).not.toContain("win-1")
    const { rows } = await services.agentGroups.list({}, { limit: 1, offset: 0 })
    expect([...(await services.agentGroups.memberCounts(rows)).values()]).toEqual([1])
  })

  test("an unknown kind of rule is not made", async () => {
    const { visitor } = await open()
    const operator = await visitor("operator")
    expect((await operator.get("/policies/new?type=Nonsense")).text).toContain("Allowed issuers")
    expect((await operator.post("/policies/new", { type: "Nonsense", name: "x" })).status).toBe(400)
  })
})
