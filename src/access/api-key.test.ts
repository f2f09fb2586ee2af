import { expect, test } from "bun:test"
import { eq } from "drizzle-orm"
import { asOps, asRoot, assembleApp, bearer, tester } from "../testing/assembled-app"
import { onEachDialect } from "../testing/on-each-dialect"
import { newSecret, sameHash, secretHash } from "./secrets"

test("hashes are compared by value, and of different length never equal", () => {
  expect(sameHash(secretHash("a"), secretHash("a"))).toBe(true)
  expect(sameHash(secretHash("a"), secretHash("b"))).toBe(false)
  expect(sameHash("a", "ab")).toBe(false)
  expect(newSecret("certctl_")).toMatch(/^certctl_[\w-]{43}$/)
})

onEachDialect("API keys", (openDb) => {
  const post = (path: string, body: unknown, key = "root-key") =>
    ({
      path: `/api/v1/api-keys${path}`,
      init: { method: "POST", body: JSON.stringify(body), headers: bearer(key) },
    }) as const

  test("a new key is shown once and works at once", async () => {
    const { app } = await assembleApp(await openDb())
    const { path, init } = post("", { name: "ci", role: "viewer", principal: "pipeline" })
    const created = await app.request(path, init)
    expect(created.status).toBe(201)
    const body = await created.json()
    expect(body).toMatchObject({
      name: "ci",
      role: "viewer",
      principal: "pipeline",
    })
    expect(body.key).toMatch(/^certctl_/)
    const check = await app.request("/api/v1/auth/check", { headers: bearer(body.key) })
    expect(await check.json()).toMatchObject({ user: "pipeline", admin: false })
    const list = await (await app.request("/api/v1/api-keys", asRoot)).json()
    expect(list).toMatchObject({ total: 1, page: 1, per_page: 50 })
    expect(JSON.stringify(list)).not.toContain(body.key)
    expect(JSON.stringify(list)).not.toContain(secretHash(body.key))
  })

  test("names are unique, roles known, and only admins manage keys", async () => {
    const { app } = await assembleApp(await openDb())
    const create = async (body: unknown, key?: string) => {
      const { path, init } = post("", body, key)
      return app.request(path, init)
    }
    expect((await create({ name: "a", role: "admin" })).status).toBe(201)
    expect((await create({ name: "a", role: "viewer" })).status).toBe(409)
    expect(await (await create({ name: "b", role: "king" })).json()).toMatchObject({
      message: "role must be one of admin, operator, viewer",
    })
    expect(await (await create({ role: "admin" })).json()).toMatchObject({ message: "name is required" })
    expect((await create({ name: "b", role: "admin" }, "ops-key")).status).toBe(403)
    expect((await app.request("/api/v1/api-keys", asOps)).status).toBe(403)
  })

  test("rotating ends the former key and its sessions", async () => {
    const { app, keys, sessions } = await assembleApp(await openDb())
    const { row, key } = await keys.create({ name: "a", role: "operator" }, tester)
    const { token } = await sessions.signIn(key, "192.0.2.1")
    const rotated = await app.request(`/api/v1/api-keys/${row.id}/rotate`, { method: "POST", ...asRoot })
    expect(rotated.status).toBe(200)
    const { key: next } = await rotated.json()
    expect((await app.request("/api/v1/auth/check", { headers: bearer(key) })).status).toBe(401)
    expect((await app.request("/api/v1/auth/check", { headers: bearer(next) })).status).toBe(200)
    expect(await sessions.find(token)).toBeNull()
  })

  test("disabling ends the key and its sessions, and says so once in the audit trail", async () => {
    const { app, keys, sessions, audit } = await assembleApp(await openDb())
    const { row, key } = await keys.create({ name: "a", role: "operator" }, tester)
    const { token } = await sessions.signIn(key, "192.0.2.1")
    const disable = () => app.request(`/api/v1/api-keys/${row.id}`, { method: "DELETE", ...asRoot })
    expect([(await disable()).status, (await disable()).status]).toEqual([204, 204])
    expect((await app.request("/api/v1/auth/check", { headers: bearer(key) })).status).toBe(401)
    expect(await sessions.find(token)).toBeNull()
    const { rows } = await audit.list({ action: "key_disabled" }, { page: 1, per_page: 50 })
    expect(rows).toMatchObject([{ actor: "root", resourceType: "api_key", resourceId: row.id }])
    const rotate = await app.request(`/api/v1/api-keys/${row.id}/rotate`, { method: "POST", ...asRoot })
    expect(rotate.status).toBe(400)
    expect((await app.request("/api/v1/api-keys/key-none", { method: "DELETE", ...asRoot })).status).toBe(404)
  })

  test("the last use is stamped at most once a minute", async () => {
    const db = await openDb()
    const { app, keys, clock } = assembleApp(db)
    const { row, key } = await keys.create({ name: "a", role: "viewer" }, tester)
    const use = async () => {
      await app.request("/api/v1/auth/check", { headers: bearer(key) })
      await keys.close()
      return (await keys.get(row.id)).lastUsedAt
    }
    const first = clock.now()
    expect(await use()).toEqual(first)
    clock.advance(59_000)
    expect(await use()).toEqual(first)
    clock.advance(2000)
    expect(await use()).toEqual(clock.now())
  })

  test("a key of the environment may overlap with another of the same name", async () => {
    const { app } = assembleApp(await openDb(), {
      keys: [
        { name: "root", key: "old", role: "admin" },
        { name: "root", key: "new", role: "admin" },
      ],
    })
    for (const key of ["old", "new"]) {
      const answer = await app.request("/api/v1/auth/check", { headers: bearer(key) })
      expect(await answer.json()).toMatchObject({ user: "root", admin: true })
    }
  })

  test("keys are stored as hashes only", async () => {
    const db = await openDb()
    const { keys } = assembleApp(db)
    const { row, key } = await keys.create({ name: "a", role: "viewer" }, tester)
    const [stored] = await db.read.select().from(db.t.apiKeys).where(eq(db.t.apiKeys.id, row.id))
    expect(stored?.hash).toBe(secretHash(key))
    expect(JSON.stringify(await db.read.select().from(db.t.auditEvents))).not.toContain(key)
  })
})
