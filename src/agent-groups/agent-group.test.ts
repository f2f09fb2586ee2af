import { expect, test } from "bun:test"
import { eq } from "drizzle-orm"
import type { Db } from "../db/db"
import { operatorActor, viewerActor } from "../testing/api"
import { onEachDialect } from "../testing/on-each-dialect"
import { resourceApi, serviceParts } from "../testing/resource-api"
import { insertAgent, insertCertificate } from "../testing/rows"
import { agentGroupRoutes } from "./agent-group.routes"
import { agentGroupService } from "./agent-group.service"
import { agentGroupStore } from "./agent-group.store"

const setUp = (db: Db, actor?: Parameters<typeof resourceApi>[2]) => {
  const parts = serviceParts(db)
  const changed: string[][] = []
  const groups = agentGroupService({
    ...parts,
    groups: agentGroupStore(db),
    async onServingChanged(_tx, policyIds) {
      changed.push([...policyIds])
    },
  })
  return { ...parts, groups, changed, send: resourceApi("agent-groups", agentGroupRoutes(groups), actor) }
}

const addMember = (db: Db, agentId: string, membershipType: "include" | "exclude") =>
  db.transaction(async (tx) => {
    const row = { agentGroupId: "ag-1", agentId, membershipType, createdAt: new Date() }
    await tx.insert(db.t.agentGroupMembers).values(row)
  })

onEachDialect("agent groups", (openDb) => {
  test("are created, shown, changed key by key and deleted, each with its audit event", async () => {
    const { send, actionsOn } = setUp(await openDb())
    const created = await send("POST", "", { name: "edge", match_os: "linux", match_ip_cidr: "10.0.0.0/8" })
    expect(created.status).toBe(201)
    const { id, created_at, updated_at } = created.body
    expect(created.body).toEqual({
      id,
      name: "edge",
      description: "",
      match_os: "linux",
      match_architecture: "",
      match_version: "",
      match_ip_cidr: "10.0.0.0/8",
      enabled: true,
      created_at,
      updated_at,
    })
    expect(id).toMatch(/^ag-.{10,}$/)
    const changed = await send("PUT", `/${id}`, { enabled: false })
    expect(changed.body).toMatchObject({ name: "edge", match_os: "linux", enabled: false })
    expect((await send("PUT", `/${id}`, { match_ip_cidr: "" })).body.match_ip_cidr).toBe("")
    expect((await send("GET", "")).body).toMatchObject({ total: 1, page: 1, per_page: 50, data: [{ id }] })
    expect((await send("GET", `/${id}`)).body.name).toBe("edge")
    expect(await send("DELETE", `/${id}`)).toEqual({ status: 204, body: null })
    expect(await actionsOn(id)).toEqual([
      "create_agent_group",
      "update_agent_group",
      "update_agent_group",
      "delete_agent_group",
    ])
  })

  test("are refused with the name of the wrong field, and have unique names", async () => {
    const { send } = setUp(await openDb())
    const refusal = async (body: object) => {
      const { status, body: answer } = await send("POST", "", body)
      return `${status} ${answer.message}`
    }
    expect(await refusal({})).toBe("400 name is required")
    expect(await refusal({ name: "x", match_ip_cidr: "10.0.0.0/99" })).toMatch(/^400 match_ip_cidr must be an IP addr/)
    expect(await refusal({ name: "x", match_os: "x".repeat(101) })).toMatch(/^400 match_os must be at most 100/)
    await send("POST", "", { id: "ag-1", name: "one" })
    await send("POST", "", { id: "ag-2", name: "two" })
    expect((await send("POST", "", { name: "one" })).status).toBe(409)
    expect((await send("POST", "", { id: "ag-1", name: "three" })).status).toBe(409)
    expect((await send("PUT", "/ag-2", { name: "one" })).status).toBe(409)
    expect((await send("PUT", "/ag-2", { match_ip_cidr: "x" })).status).toBe(400)
  })

  test("are not found under an unknown id", async () => {
    const { send } = setUp(await openDb())
    for (const [method, path] of [
      ["GET", "/ag-none"],
      ["PUT", "/ag-none"],
      ["DELETE", "/ag-none"],
      ["GET", "/ag-none/members"],
    ] as const) {
      expect(await send(method, path)).toMatchObject({
        status: 404,
        body: { message: "agent group ag-none does not exist" },
      })
    }
  })

  test("have the agents that match and are not excluded, and those that are included, all in one page", async () => {
    const db = await openDb()
    const { send, groups } = setUp(db)
    await send("POST", "", { id: "ag-1", name: "edge", match_os: "linux", match_ip_cidr: "10.0.0.0/8" })
    const linux = { os: "linux", ipAddress: "10.0.0.7" }
    await insertAgent(db, { id: "agent-b", name: "beta", ...linux })
    await insertAgent(db, { id: "agent-a", name: "Zeta", ...linux })
    await insertAgent(db, { id: "agent-far", ...linux, ipAddress: "192.0.2.1" })
    await insertAgent(db, { id: "agent-ex", ...linux })
    await insertAgent(db, { id: "agent-in", name: "alpha", os: "windows" })
    await insertAgent(db, { id: "agent-old", ...linux, retiredAt: new Date() })
    await insertAgent(db, { id: "server-scanner", ...linux })
    await addMember(db, "agent-ex", "exclude")
    await addMember(db, "agent-in", "include")
    const { status, body } = await send("GET", "/ag-1/members?per_page=1")
    expect(status).toBe(200)
    expect(body).toMatchObject({ total: 3, page: 1, per_page: 3 })
    expect(body.data.map(({ name }: { name: string }) => name)).toEqual(["Zeta", "alpha", "beta"])
    expect(body.data[0]).not.toHaveProperty("api_key_hash")
    const asked = ["agent-a", "agent-in", "agent-ex", "agent-far", "server-scanner"]
    const found = await db.transaction((tx) => groups.memberIds(tx, "ag-1", asked))
    expect([...found].sort()).toEqual(["agent-a", "agent-in"])
    expect(await db.transaction((tx) => groups.memberIds(tx, "ag-none", asked))).toEqual(new Set())
    await send("PUT", "/ag-1", { enabled: false })
    expect((await send("GET", "/ag-1/members")).body).toEqual({ data: [], total: 0, page: 1, per_page: 0 })
  })

  test("tell which renewal policies have other agents from now on", async () => {
    const db = await openDb()
    const { send, changed } = setUp(db)
    await send("POST", "", { id: "ag-1", name: "edge" })
    await insertCertificate(db)
    await db.transaction(async (tx) => void (await tx.update(db.t.renewalPolicies).set({ agentGroupId: "ag-1" })))
    await send("PUT", "/ag-1", { name: "renamed", description: "x" })
    expect(changed).toEqual([])
    await send("PUT", "/ag-1", { match_os: "linux" })
    await send("DELETE", "/ag-1")
    expect(changed).toEqual([["rp-1"], ["rp-1"]])
    const [policy] = await db.read.select().from(db.t.renewalPolicies).where(eq(db.t.renewalPolicies.id, "rp-1"))
    expect(policy?.agentGroupId).toBeNull()
  })

  test("are written by operators and read by viewers", async () => {
    const db = await openDb()
    const asViewer = setUp(db, viewerActor).send
    expect((await asViewer("GET", "")).status).toBe(200)
    expect((await asViewer("POST", "", { name: "x" })).status).toBe(403)
    expect((await setUp(db, operatorActor).send("POST", "", { name: "x" })).status).toBe(201)
  })
})
