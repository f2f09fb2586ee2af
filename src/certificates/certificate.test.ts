import { expect, test } from "bun:test"
import type { Db } from "../db/db"
import { operatorActor, viewerActor } from "../testing/api"
import { lifecycleApi } from "../testing/lifecycle-api"
import { dayMs } from "../testing/lifecycle-world"
import { onEachDialect } from "../testing/on-each-dialect"

const minimal = {
  common_name: "api.example.com",
  owner_id: "o-1",
  team_id: "t-1",
  issuer_id: "iss-inside",
  name: "api",
  renewal_policy_id: "rp-auto",
}

const insertProfile = (db: Db, id: string, given: { requiresApproval?: boolean }) =>
  db.transaction(async (tx) => {
    const stamps = { createdAt: new Date(0), updatedAt: new Date(0) }
    const lists = { allowedKeyAlgorithms: [], allowedEkus: [], requiredSanPatterns: [], requiredCsrAttributes: [] }
    await tx.insert(db.t.certificateProfiles).values({ id, name: id, ...lists, ...stamps, ...given })
  })

onEachDialect("certificates over the API", (openDb) => {
  test("are created with what is given and the documented defaults, and nothing is issued", async () => {
    const { send, eventsOf, jobsOf } = await lifecycleApi(await openDb())
    const { status, body } = await send("POST", "/certificates", minimal)
    expect(status).toBe(201)
    expect(body).toEqual({
      ...minimal,
      id: body.id,
      sans: [],
      environment: "",
      target_ids: [],
      status: "Pending",
      expires_at: "0001-01-01T00:00:00Z",
      tags: {},
      created_at: body.created_at,
      updated_at: body.updated_at,
    })
    expect((await send("GET", `/certificates/${body.id}`)).body).toEqual(body)
    expect((await eventsOf(body.id)).map(({ action }) => action)).toEqual(["certificate_created"])
    expect(await jobsOf(body.id)).toEqual([])
  })

  test("an imported one keeps its state and gets a renewal point", async () => {
    const { send } = await lifecycleApi(await openDb())
    const imported = { ...minimal, status: "Active", expires_at: "2030-04-01T00:00:00Z", target_ids: ["agent-1-a"] }
    const { body } = await send("POST", "/certificates", imported)
    expect(body).toMatchObject({ status: "Active", expires_at: "2030-04-01T00:00:00.000Z", target_ids: ["agent-1-a"] })
    expect(body.renew_at > "2030-03-01" && body.renew_at < "2030-04-01").toBe(true)
  })

  test.each([
    [{ ...minimal, common_name: undefined, name: undefined }, 400, "common_name is required"],
    [{ ...minimal, owner_id: "", team_id: "" }, 400, "owner_id is required"],
    [{ ...minimal, team_id: undefined, name: undefined }, 400, "team_id is required"],
    [{ ...minimal, issuer_id: undefined, name: undefined }, 400, "issuer_id is required"],
    [{ ...minimal, name: undefined, renewal_policy_id: undefined }, 400, "name is required"],
    [{ ...minimal, renewal_policy_id: undefined }, 400, "renewal_policy_id is required"],
    [{ ...minimal, owner_id: "o-9" }, 400, "owner_id must be an existing id"],
    [{ ...minimal, target_ids: ["agent-1-a", "nowhere"] }, 400, "no nowhere"],
    [{ ...minimal, sans: ["ok.example.com", "not a name"] }, 400, "sans[1] contains"],
    [{ ...minimal, status: "Great" }, 400, "status must be"],
    [{ ...minimal, expires_at: "soon" }, 400, "expires_at must be"],
    [{ ...minimal, name: "mc-inside" }, 409, "exists already"],
    [{ ...minimal, id: "mc-inside" }, 409, "exists already"],
  ])("refuse %j with %d", async (body, status, message) => {
    const { send } = await lifecycleApi(await openDb())
    const answer = await send("POST", "/certificates", body)
    expect(answer).toMatchObject({ status, body: { message: expect.stringContaining(message) } })
  })

  test("change key by key, and keep their names once issued", async () => {
    const { send, server, csrFor } = await lifecycleApi(await openDb())
    const changed = await send("PUT", "/certificates/mc-inside", {
      environment: "prod",
      sans: ["a.example.com"],
      tags: { tier: "1" },
      target_ids: ["agent-1-a", "agent-1-a"],
      renewal_policy_id: "",
    })
    expect(changed).toMatchObject({
      status: 200,
      body: { environment: "prod", sans: ["a.example.com"], tags: { tier: "1" }, target_ids: ["agent-1-a"] },
    })
    expect(changed.body.renewal_policy_id).toBe("rp-auto")
    const csrPem = await csrFor("mc-inside")
    await server.issuance.submitCsr({ agentId: "agent-1", certificateId: "mc-inside", csrPem }, operatorActor)
    expect((await send("PUT", "/certificates/mc-inside", { sans: ["b.example.com"] })).status).toBe(400)
    expect((await send("PUT", "/certificates/mc-inside", { sans: ["a.example.com"] })).status).toBe(200)
    expect((await send("PUT", "/certificates/mc-inside", { name: "mc-outside" })).status).toBe(409)
    expect((await send("PUT", "/certificates/mc-inside", { team_id: "t-9" })).status).toBe(400)
    expect((await send("PUT", "/certificates/mc-nowhere", {})).status).toBe(404)
  })

  test("a new policy moves the renewal point of what was issued", async () => {
    const db = await openDb()
    const { send, server, csrFor } = await lifecycleApi(db)
    await db.transaction(async (tx) => {
      await tx.update(db.t.renewalPolicies).set({ renewalWindowDays: 5 })
    })
    const csrPem = await csrFor("mc-inside")
    await server.issuance.submitCsr({ agentId: "agent-1", certificateId: "mc-inside", csrPem }, operatorActor)
    await db.transaction(async (tx) => {
      await tx.update(db.t.renewalPolicies).set({ renewalWindowDays: 20 })
    })
    const { renew_at: before } = (await send("GET", "/certificates/mc-inside")).body
    const { renew_at: after } = (await send("PUT", "/certificates/mc-inside", { renewal_policy_id: "rp-asks" })).body
    const leftDays = (at: string) => (Date.UTC(2030, 3, 1) - Date.parse(at)) / dayMs
    expect(leftDays(before)).toBeLessThanOrEqual(5)
    expect(leftDays(after)).toBeGreaterThan(17)
  })

  test("are archived once, with what was open for them; the row stays", async () => {
    const { send, map, jobsOf, eventsOf } = await lifecycleApi(await openDb())
    await map("mc-inside", "agent-1-a")
    await send("POST", "/certificates/mc-inside/renew")
    expect((await send("DELETE", "/certificates/mc-inside")).status).toBe(204)
    expect((await send("DELETE", "/certificates/mc-inside")).status).toBe(204)
    expect((await send("DELETE", "/certificates/mc-nowhere")).status).toBe(404)
    expect((await send("GET", "/certificates/mc-inside")).body.status).toBe("Archived")
    expect(await jobsOf("mc-inside")).toMatchObject([
      { status: "Cancelled", lastError: "the certificate was archived" },
    ])
    const archived = (await eventsOf("mc-inside")).filter(({ action }) => action === "certificate_archived")
    expect(archived).toHaveLength(1)
    expect((await send("PUT", "/certificates/mc-inside", { environment: "x" })).status).toBe(409)
    expect((await send("POST", "/certificates/mc-inside/renew")).status).toBe(400)
    expect((await send("POST", "/certificates/mc-inside/deploy", {})).status).toBe(400)
  })

  test("are read by viewers, and changed by nobody below operator", async () => {
    const { as } = await lifecycleApi(await openDb())
    const send = as(viewerActor)
    expect((await send("GET", "/certificates")).status).toBe(200)
    expect((await send("POST", "/certificates", minimal)).status).toBe(403)
    expect((await send("POST", "/certificates/mc-inside/renew")).status).toBe(403)
  })
})

onEachDialect("lists of certificates", (openDb) => {
  const fill = async (db: Db) => {
    const api = await lifecycleApi(db)
    for (const [place, name] of ["c", "a", "b"].entries()) {
      api.clock.advance(1000)
      await api.send("POST", "/certificates", {
        ...minimal,
        id: `mc-${name}`,
        name,
        common_name: `${name}.example.org`,
        environment: place === 0 ? "prod" : "test",
        ...(place === 0 ? { expires_at: "2030-06-01T00:00:00Z", target_ids: ["agent-2-a"] } : {}),
      })
    }
    const names = async (query: string): Promise<string[]> =>
      (await api.send("GET", `/certificates?${query}`)).body.data.map((row: { name: string }) => row.name)
    return { ...api, names }
  }

  test("filter, and ignore what cannot be read", async () => {
    const { names } = await fill(await openDb())
    expect(await names("environment=prod")).toEqual(["c"])
    expect(await names("agent_id=agent-2")).toEqual(["c"])
    expect(await names("issuer_id=iss-outside")).toEqual(["mc-outside"])
    expect(await names("status=Archived")).toEqual([])
    expect(await names("expires_before=2030-06-01T00:00:00Z")).toEqual([])
    expect(await names("expires_before=2030-06-01T00:00:01Z")).toEqual(["c"])
    expect(await names("created_after=2030-01-01T00:00:01Z&expires_before=whenever")).toEqual(["a", "b"])
    expect(await names("q=A.EXAMPLE.ORG")).toEqual(["a"])
    expect(await names("q=%25")).toEqual([])
  })

  test("sort by the listed names only, never-issued ones last", async () => {
    const { names } = await fill(await openDb())
    const custom = "environment=test"
    expect(await names(`${custom}&sort=name`)).toEqual(["a", "b"])
    expect(await names(`${custom}&sort=-name`)).toEqual(["b", "a"])
    expect(await names(`${custom}&sort=commonName&sort_desc=true`)).toEqual(["b", "a"])
    expect((await names("sort=notAfter"))[0]).toBe("c")
    expect((await names("sort=-expiresAt"))[0]).toBe("c")
    expect(await names(`${custom}&sort=password`)).toEqual(await names(custom))
  })

  test("page by number and by cursor without losing or doubling a row", async () => {
    const { send } = await fill(await openDb())
    const { body } = await send("GET", "/certificates?per_page=2&page=2")
    expect(body).toMatchObject({ total: 6, page: 2, per_page: 2 })
    const seen: string[] = []
    let cursor = ""
    do {
      const page = (await send("GET", `/certificates?page_size=4&cursor=${cursor}`)).body
      seen.push(...page.data.map((row: { id: string }) => row.id))
      expect(page.total).toBe(6)
      cursor = page.next_cursor ?? ""
    } while (cursor !== "")
    expect(seen.slice(0, 3)).toEqual(["mc-b", "mc-a", "mc-c"])
    expect(new Set(seen).size).toBe(6)
  })

  test("reduce rows to the fields asked for", async () => {
    const { send } = await fill(await openDb())
    const { body } = await send("GET", "/certificates?environment=prod&fields=id,name,no_such")
    expect(body.data).toEqual([{ id: "mc-c", name: "c" }])
  })
})

onEachDialect("a renewal asked for", (openDb) => {
  test("opens one key request per agent, and refuses a second without force", async () => {
    const { send, map, jobsOf, eventsOf } = await lifecycleApi(await openDb())
    await map("mc-inside", "agent-1-a", "agent-1-b", "agent-2-a")
    const { status, body } = await send("POST", "/certificates/mc-inside/renew")
    const jobs = await jobsOf("mc-inside")
    expect({ status, body }).toEqual({ status: 202, body: { status: "renewal_triggered", job_id: jobs[0]?.id } })
    expect(jobs).toMatchObject([
      { type: "Issuance", status: "AwaitingCSR", agentId: "agent-1", requestedBy: "tester" },
      { type: "Issuance", status: "AwaitingCSR", agentId: "agent-2" },
    ])
    expect((await send("GET", "/certificates/mc-inside")).body.status).toBe("RenewalInProgress")
    expect((await send("POST", "/certificates/mc-inside/renew", {})).status).toBe(409)
    expect((await send("POST", "/certificates/mc-inside/renew?force=1")).status).toBe(202)
    expect((await send("POST", "/certificates/mc-inside/renew", { force: true })).status).toBe(202)
    expect((await jobsOf("mc-inside")).map((job) => job.status)).toEqual([
      ...Array(4).fill("Cancelled"),
      ...Array(2).fill("AwaitingCSR"),
    ])
    expect((await eventsOf("mc-inside")).filter(({ action }) => action === "renewal_triggered")).toHaveLength(3)
    expect((await send("POST", "/certificates/mc-nowhere/renew")).status).toBe(404)
  })

  test("without any agent waits for one, and says so", async () => {
    const { send, jobsOf, server, map } = await lifecycleApi(await openDb())
    await send("POST", "/certificates/mc-inside/renew")
    expect(await jobsOf("mc-inside")).toMatchObject([
      { status: "AwaitingCSR", agentId: null, lastError: expect.stringContaining("map a target") },
    ])
    await map("mc-inside", "agent-3-a")
    const never = new AbortController().signal
    const [item] = await server.work.poll("agent-3", { waitSeconds: 0, holding: [] }, never)
    expect(item).toMatchObject({ status: "AwaitingCSR", common_name: "mc-inside.example.com" })
  })

  test("is left to the client of what a client enrolled, and waits where the profile wants approval", async () => {
    const db = await openDb()
    const { send, map, jobsOf } = await lifecycleApi(db)
    await insertProfile(db, "prof-asks", { requiresApproval: true })
    await db.transaction(async (tx) => {
      await tx.insert(db.t.certificates).values({
        ...{ id: "mc-est", name: "est", commonName: "e.example.com", sans: [], tags: {}, source: "EST" },
        ...{ ownerId: "o-1", teamId: "t-1", issuerId: "iss-inside", renewalPolicyId: "rp-auto" },
        ...{ createdAt: new Date(0), updatedAt: new Date(0) },
      })
    })
    expect((await send("POST", "/certificates/mc-est/renew?force=true")).status).toBe(400)
    await map("mc-inside", "agent-1-a")
    await send("PUT", "/certificates/mc-inside", { certificate_profile_id: "prof-asks" })
    expect((await send("POST", "/certificates/mc-inside/renew")).status).toBe(202)
    expect(await jobsOf("mc-inside")).toMatchObject([{ status: "AwaitingApproval", agentId: null }])
    expect((await send("GET", "/certificates/mc-inside")).body.status).toBe("Pending")
  })
})

onEachDialect("a deployment asked for", (openDb) => {
  const issued = async (db: Db) => {
    const api = await lifecycleApi(db)
    await api.map("mc-inside", "agent-1-a", "agent-2-a")
    const csrPem = await api.csrFor("mc-inside")
    await api.server.issuance.submitCsr({ agentId: "agent-1", certificateId: "mc-inside", csrPem }, operatorActor)
    return api
  }

  test("sends out what each agent has, and asks those without a key for one", async () => {
    const { send, jobsOf } = await issued(await openDb())
    expect(await send("POST", "/certificates/mc-inside/deploy", {})).toEqual({
      status: 202,
      body: { status: "deployment_triggered" },
    })
    expect(await jobsOf("mc-inside")).toMatchObject([
      { type: "Deployment", targetId: "agent-1-a", status: "Cancelled", lastError: "superseded by a newer version" },
      { type: "Deployment", targetId: "agent-1-a", status: "Pending", requestedBy: "tester" },
      { type: "Renewal", agentId: "agent-2", status: "AwaitingCSR" },
    ])
  })

  test("needs a version, a mapped target, and a version of the right agent that is still valid", async () => {
    const { send, map, clock } = await issued(await openDb())
    const deploy = async (id: string, body: object) => (await send("POST", `/certificates/${id}/deploy`, body)).status
    expect(await deploy("mc-nowhere", {})).toBe(404)
    expect(await deploy("mc-outside", {})).toBe(400)
    await map("mc-outside", "agent-1-a")
    expect(await deploy("mc-outside", {})).toBe(400)
    expect(await deploy("mc-inside", { target_id: "agent-3-a" })).toBe(400)
    expect(await deploy("mc-inside", { version_id: "cv-nothing" })).toBe(400)
    const [version] = (await send("GET", "/certificates/mc-inside/versions")).body.data
    expect(await deploy("mc-inside", { version_id: version.id, target_id: "agent-2-a" })).toBe(400)
    expect(await deploy("mc-inside", { version_id: version.id })).toBe(202)
    clock.advance(91 * dayMs)
    expect(await deploy("mc-inside", { version_id: version.id })).toBe(400)
  })

  test("versions and targets can be listed, and no stored key gets out", async () => {
    const db = await openDb()
    const { send } = await issued(db)
    const { body } = await send("GET", "/certificates/mc-inside/versions")
    expect(body).toMatchObject({ total: 1, data: [{ agent_id: "agent-1", key_algorithm: "ECDSA", key_size: 256 }] })
    expect(body.data[0].csr_pem).toStartWith("-----BEGIN CERTIFICATE REQUEST-----")
    await db.transaction(async (tx) => {
      const csrPem = "-----BEGIN EC PRIVATE KEY-----\nAAAA\n-----END EC PRIVATE KEY-----\n"
      await tx.update(db.t.certificateVersions).set({ csrPem })
    })
    expect((await send("GET", "/certificates/mc-inside/versions")).body.data[0].csr_pem).toBe("")
    const targets = (await send("GET", "/certificates/mc-inside/deployments")).body
    expect(targets).toMatchObject({ total: 2, data: [{ id: "agent-1-a" }, { id: "agent-2-a" }] })
    expect((await send("GET", "/certificates/mc-nowhere/versions")).status).toBe(404)
    expect((await send("GET", "/certificates/mc-nowhere/deployments")).status).toBe(404)
  })
})
