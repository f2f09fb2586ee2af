/** What an agent is told of its targets, and what others are, with real keys and sealed configurations. */
import { expect, test } from "bun:test"
import { tmpdir } from "node:os"
import { eq } from "drizzle-orm"
import { systemClock } from "../clock"
import { readConfig } from "../config"
import type { Db } from "../db/db"
import { openSealer } from "../secrets/sealing"
import { bearer, tester } from "../testing/assembled-app"
import { onEachDialect } from "../testing/on-each-dialect"
import { wire } from "../wiring"

const secret = "correct horse battery"

const world = async (db: Db, settings: Record<string, string> = {}) => {
  const config = readConfig({ CERTCTL_DATA_DIR: tmpdir(), CERTCTL_RATE_LIMIT_ENABLED: "false", ...settings })
  const sealer = await openSealer({ passphrase: "a passphrase of more than 32 bytes" })
  const { app, access } = wire({ config, db, sealer, clock: systemClock, serverId: "srv-test", caFingerprint: "" })
  const keyOf = async (role: "admin" | "operator" | "viewer") =>
    (await access.keys.create({ name: role, role }, tester)).key
  const admin = await keyOf("admin")
  const call = async (method: string, path: string, body?: unknown, key = admin) => {
    const answer = await app.request(`/api/v1${path}`, {
      method,
      headers: { ...bearer(key), "content-type": "application/json" },
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
    })
    return { status: answer.status, text: await answer.text() }
  }
  const made = async (path: string, body: unknown) => JSON.parse((await call("POST", path, body)).text)
  const agent = await made("/agents", { name: "web1", hostname: "web1" })
  const other = await made("/agents", { name: "web2", hostname: "web2" })
  const store = { keystore_path: "/etc/s.p12", keystore_password: secret }
  const target = { type: "JavaKeystore", agent_id: agent.id, config: store }
  const { id } = await made("/targets", { ...target, name: "app" })
  await made("/targets", { ...target, name: "elsewhere", agent_id: other.id })
  const list = async (key?: string, query = "") => {
    const { status, text } = await call("GET", `/agents/${agent.id}/targets${query}`, undefined, key)
    return { status, text, body: JSON.parse(text) }
  }
  return { call, made, keyOf, agent, other, target, id, list }
}

onEachDialect("the targets of an agent", (openDb) => {
  test("are told to the agent whole, to others without a secret, to strangers not at all", async () => {
    const { list, agent, other, id, keyOf } = await world(await openDb())
    const own = await list(agent.api_key)
    expect(own.body).toEqual({
      data: [
        {
          ...{ id, name: "app", type: "JavaKeystore", enabled: true },
          config: { keystore_path: "/etc/s.p12", keystore_password: secret },
        },
      ],
      total: 1,
      page: 1,
      per_page: 50,
    })
    for (const key of [undefined, await keyOf("operator")]) {
      const shown = await list(key)
      expect(shown.body.data).toMatchObject([{ id, config: { keystore_password: "********" } }])
      expect(shown.text).not.toContain(secret)
    }
    for (const key of [other.api_key, await keyOf("viewer"), "no key"]) {
      const refused = await list(key)
      expect([401, 403]).toContain(refused.status)
      expect(refused.text).not.toContain(secret)
    }
  })

  test("are read without a trace on jobs, by page and by cursor, without retired ones", async () => {
    const { call, made, list, agent, target } = await world(await openDb())
    for (const name of ["b", "c"]) await made("/targets", { ...target, name })
    const first = await list(agent.api_key, "?page_size=2")
    expect(first.body.data).toHaveLength(2)
    const rest = await list(agent.api_key, `?page_size=2&cursor=${first.body.next_cursor}`)
    expect([rest.body.data.length, rest.body.total, rest.body.next_cursor]).toEqual([1, 3, undefined])
    expect((await list(agent.api_key, "?q=APP")).body.data).toMatchObject([{ name: "app" }])
    expect(JSON.parse((await call("GET", "/jobs")).text).total).toBe(0)
    expect(JSON.parse((await call("GET", `/agents/${agent.id}`)).text)).not.toHaveProperty("last_heartbeat_at", null)
    expect((await call("DELETE", `/agents/${agent.id}?force=true&reason=gone`)).status).toBe(200)
    expect((await list(agent.api_key)).status).toBe(410)
    expect((await call("GET", "/agents/nobody/targets")).status).toBe(404)
  })

  test("show no secret while authentication is off", async () => {
    const { list, id } = await world(await openDb(), { CERTCTL_AUTH_TYPE: "none" })
    const shown = await list("")
    expect(shown.body.data).toMatchObject([{ id }])
    expect(shown.text).not.toContain(secret)
  })

  test("whose configuration cannot be opened does not hide the others", async () => {
    const db = await openDb()
    const { list, made, agent, id, target } = await world(db)
    const whole = await made("/targets", { ...target, name: "whole" })
    await db.transaction(async (tx) => {
      const { deploymentTargets } = db.t
      await tx
        .update(deploymentTargets)
        .set({ encryptedConfig: Buffer.from("broken") })
        .where(eq(deploymentTargets.id, id))
    })
    const { data } = (await list(agent.api_key)).body
    expect(data.find((row: { id: string }) => row.id === id)).not.toHaveProperty("config")
    expect(data.find((row: { id: string }) => row.id === whole.id)).toMatchObject({
      config: { keystore_password: secret },
    })
  })
})
