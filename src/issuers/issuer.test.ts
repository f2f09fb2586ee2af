import { expect, test } from "bun:test"
import { mask } from "../connectors/stored-config"
import type { Db } from "../db/db"
import { parseCertificate } from "../pki/certificate"
import { buildCsr } from "../pki/csr"
import { generateKey } from "../pki/keys"
import { openSealer } from "../secrets/sealing"
import { adminActor, operatorActor, viewerActor } from "../testing/api"
import { onEachDialect } from "../testing/on-each-dialect"
import { resourceApi, serviceParts } from "../testing/resource-api"
import { insertCertificate } from "../testing/rows"
import { caKeyStore } from "./ca-key.store"
import { environmentIssuers } from "./environment-issuers"
import { heldAuthorityService } from "./held-authority.service"
import { issuerRoutes } from "./issuer.routes"
import { issuerService } from "./issuer.service"
import { issuerStore } from "./issuer.store"
import { issuerDepsFor } from "./issuer-deps"

const sealer = await openSealer({ passphrase: "a passphrase that is only for tests" })

const settings = {
  keyType: "ecdsa-p256",
  commonName: "CertCtl Local CA",
  organization: null,
  validityMs: 3650 * 86_400_000,
  backdateMs: 900_000,
} as const

/** One server's services; two of them on one database stand for two servers. */
const serverOn = (db: Db, local: Parameters<typeof environmentIssuers>[0] = { commonName: "Env CA", files: null }) => {
  const parts = serviceParts(db)
  const caKeys = caKeyStore(db)
  const heldAuthorities = heldAuthorityService({ ...parts, caKeys, sealer, settings })
  const depsFor = issuerDepsFor({
    fetch,
    clock: parts.clock,
    heldAuthorities,
    treeAuthority: async () => null,
    caKeyPassphrase: null,
    backdateMs: settings.backdateMs,
    pkiUrl: "http://pki.example",
  })
  const fromEnvironment = environmentIssuers(local)
  const issuers = issuerService({ ...parts, issuers: issuerStore(db), caKeys, sealer, depsFor, fromEnvironment })
  const sendAs = (actor = adminActor) => resourceApi("issuers", issuerRoutes(issuers), actor)
  return { ...parts, issuers, heldAuthorities, send: sendAs(), sendAs }
}

const request = async () => ({
  csrPem: buildCsr({ commonName: "a.test", sans: ["a.test"], privateKey: await generateKey("ecdsa-p256") }),
  commonName: "a.test",
  sans: [],
  ekus: [],
  maxTtlSeconds: 0,
  mustStaple: false,
  idempotencyKey: "once",
})

const sealedConfig = async (db: Db) => {
  const [row] = await db.read.select().from(db.t.issuers)
  return row?.encryptedConfig ? sealer.unsealJson(row.encryptedConfig, "test row") : null
}

onEachDialect("issuers", (openDb) => {
  test("are created, changed and deleted, each with its audit event", async () => {
    const { send, actionsOn } = serverOn(await openDb())
    const created = await send("POST", "", { name: "Lab CA", type: "local", config: { validity_days: 30 } })
    expect(created.status).toBe(201)
    expect(created.body).toEqual({
      id: created.body.id,
      name: "Lab CA",
      type: "GenericCA",
      config: { validity_days: 30 },
      enabled: true,
      test_status: "untested",
      source: "database",
      created_at: created.body.created_at,
      updated_at: created.body.updated_at,
    })
    const { id } = created.body
    expect(id).toMatch(/^iss-.{10,}$/)
    expect((await send("PUT", `/${id}`, { enabled: false })).body).toMatchObject({
      enabled: false,
      config: { validity_days: 30 },
    })
    expect((await send("GET", "")).body).toMatchObject({ total: 1, data: [{ id, enabled: false }] })
    expect((await send("DELETE", `/${id}`)).status).toBe(204)
    expect((await send("GET", `/${id}`)).status).toBe(404)
    expect(await actionsOn(id)).toEqual(["create_issuer", "update_issuer", "delete_issuer"])
  })

  test("keep what is secret sealed and show a mask, and keep unknown keys", async () => {
    const db = await openDb()
    const { send } = serverOn(db)
    const config = { ca_cert_path: "/ca.pem", ca_key_path: "/ca.key", nested: { api_token: "t0ken" }, note: "x" }
    const shown = { ...config, ca_key_path: mask, nested: { api_token: mask } }
    const { body } = await send("POST", "", { id: "iss-a", name: "a", type: "GenericCA", config })
    expect(body.config).toEqual(shown)
    expect((await send("GET", "/iss-a")).body.config).toEqual(shown)
    const [row] = await db.read.select().from(db.t.issuers)
    expect(JSON.stringify(row?.config)).not.toContain("t0ken")
    expect(row?.encryptedConfig?.toString("latin1")).not.toContain("t0ken")
    expect(await sealedConfig(db)).toEqual(config)
  })

  test("keep a masked secret on a change, while it stays with the same address", async () => {
    const db = await openDb()
    const { send } = serverOn(db)
    const config = { addr: "https://one.example", api_token: "t0ken" }
    await send("POST", "", { id: "iss-a", name: "a", type: "GenericCA", config })
    const kept = await send("PUT", "/iss-a", { config: { ...config, api_token: mask, validity_days: 5 } })
    expect(kept).toMatchObject({ status: 200, body: { config: { api_token: mask, validity_days: 5 } } })
    expect(await sealedConfig(db)).toEqual({ ...config, validity_days: 5 })

    const moved = await send("PUT", "/iss-a", { config: { addr: "https://two.example", api_token: mask } })
    expect(moved.status).toBe(400)
    expect(moved.body.message).toContain("config.api_token must be given again")
    expect(await sealedConfig(db)).toEqual({ ...config, validity_days: 5 })
  })

  test("are refused with the name of the wrong field", async () => {
    const { send } = serverOn(await openDb())
    const refusal = async (body: object) => {
      const answer = await send("POST", "", body)
      return [answer.status, answer.body.message]
    }
    expect(await refusal({ type: "local" })).toEqual([400, "name is required"])
    expect(await refusal({ name: "x" })).toEqual([400, "type is required"])
    const [status, message] = await refusal({ name: "x", type: "Nonsense" })
    expect(status).toBe(400)
    expect(message).toMatch(/^type must be one of .*GenericCA/)
    expect(await refusal({ name: "x", type: "local", config: { validity_days: "90" } })).toEqual([
      400,
      "validity_days must be number",
    ])
    expect((await refusal({ name: "x", type: "local", config: { api_token: mask } }))[0]).toBe(400)
  })

  test("have unique names", async () => {
    const { send } = serverOn(await openDb())
    await send("POST", "", { id: "iss-a", name: "a", type: "local" })
    await send("POST", "", { id: "iss-b", name: "b", type: "local" })
    expect((await send("POST", "", { name: "a", type: "local" })).status).toBe(409)
    expect((await send("POST", "", { id: "iss-a", name: "c", type: "local" })).status).toBe(409)
    expect((await send("PUT", "/iss-b", { name: "a" })).status).toBe(409)
    expect((await send("PUT", "/iss-none", { name: "a" })).status).toBe(404)
    expect((await send("DELETE", "/iss-none")).status).toBe(404)
  })

  test("stay while certificates use them, their CA too", async () => {
    const db = await openDb()
    const { send, heldAuthorities } = serverOn(db)
    await send("POST", "", { id: "iss-a", name: "a", type: "local" })
    const { keyId } = await heldAuthorities.open("iss-a")
    await insertCertificate(db, { id: "mc-1", issuerId: "iss-a" })
    expect(await send("DELETE", "/iss-a")).toMatchObject({
      status: 409,
      body: { message: "issuer iss-a is still used by certificates" },
    })
    expect((await serverOn(db).heldAuthorities.open("iss-a")).keyId).toEqual(keyId)
    await db.transaction(async (tx) => void (await tx.delete(db.t.certificates)))
    expect((await send("DELETE", "/iss-a")).status).toBe(204)
    expect(await db.read.select().from(db.t.caKeys)).toEqual([])
  })

  test("are changed by administrators only, and by everybody when authentication is off", async () => {
    const db = await openDb()
    const { sendAs } = serverOn(db)
    const body = { id: "iss-a", name: "a", type: "local" }
    for (const actor of [viewerActor, operatorActor]) {
      expect((await sendAs(actor)("POST", "", body)).status).toBe(403)
      expect((await sendAs(actor)("PUT", "/iss-a", {})).status).toBe(403)
      expect((await sendAs(actor)("DELETE", "/iss-a")).status).toBe(403)
      expect((await sendAs(actor)("GET", "")).status).toBe(200)
    }
    const unauthenticated = { name: "", type: "User", role: "none" } as const
    expect((await sendAs(unauthenticated)("POST", "", body)).status).toBe(201)
  })

  test("tell in their test whether they could issue, and remember it", async () => {
    const { send, actionsOn } = serverOn(await openDb())
    await send("POST", "", { id: "iss-good", name: "good", type: "local" })
    expect(await send("POST", "/iss-good/test")).toEqual({ status: 200, body: { status: "connection_successful" } })
    expect((await send("GET", "/iss-good")).body).toMatchObject({ test_status: "success" })
    expect((await send("GET", "/iss-good")).body.last_tested_at).toBeString()

    const config = { ca_cert_path: "/nowhere/ca.pem", ca_key_path: "/nowhere/ca.key" }
    await send("POST", "", { id: "iss-bad", name: "bad", type: "local", config })
    const failed = await send("POST", "/iss-bad/test")
    expect(failed.status).toBe(500)
    expect(failed.body.message).toContain("cannot read /nowhere/ca.")
    expect((await send("GET", "/iss-bad")).body.test_status).toBe("failed")
    expect(await actionsOn("iss-bad")).toEqual(["create_issuer", "issuer_test_connection_failed"])
    expect((await send("PUT", "/iss-bad", { name: "still bad" })).body.test_status).toBe("untested")
    expect((await send("POST", "/iss-none/test")).status).toBe(404)
  })

  test("that are disabled issue nothing and say so", async () => {
    const { send, issuers } = serverOn(await openDb())
    await send("POST", "", { id: "iss-a", name: "Lab CA", type: "local", enabled: false })
    await expect(issuers.connectorFor("iss-a")).rejects.toThrow("issuer Lab CA (iss-a) is disabled")
    await expect(issuers.connectorFor("iss-none")).rejects.toThrow("issuer iss-none does not exist")
  })

  test("are open until their configuration changes, on whichever server", async () => {
    const db = await openDb()
    const [one, two] = [serverOn(db), serverOn(db)]
    await one.send("POST", "", { id: "iss-a", name: "a", type: "local", config: { validity_days: 1 } })
    const first = await two.issuers.connectorFor("iss-a")
    expect(await two.issuers.connectorFor("iss-a")).toBe(first)
    expect(first).toMatchObject({ type: "GenericCA", inProcess: true })
    await one.send("PUT", "/iss-a", { config: { validity_days: 2 } })
    expect(await two.issuers.connectorFor("iss-a")).not.toBe(first)
  })

  test("issue from one and the same CA on every server, after a restart too", async () => {
    const db = await openDb()
    const [one, two] = [serverOn(db), serverOn(db)]
    await one.send("POST", "", { id: "iss-a", name: "a", type: "local", config: { ca_common_name: "My CA" } })
    const chains = await Promise.all(
      [one, two, one, two].map(async ({ issuers }) => {
        const { connector } = await issuers.connectorFor("iss-a")
        const issued = await connector.issue(await request())
        return "certPem" in issued ? issued : null
      }),
    )
    expect(new Set(chains.map((issued) => issued?.chainPem)).size).toBe(1)
    const ca = parseCertificate(chains[0]?.chainPem ?? "")
    expect(ca).toMatchObject({ commonName: "My CA", isCa: true })
    const [row] = await db.read.select().from(db.t.caKeys)
    expect(row?.encryptedKey.toString("latin1")).not.toContain("PRIVATE KEY")
    // Certificates point to the list of the key that signed them.
    const leaf = Buffer.from(parseCertificate(chains[0]?.certPem ?? "").der).toString("latin1")
    expect(leaf).toContain(`http://pki.example/.well-known/pki/crl/iss-a?ca=${row?.ski}`)
    expect(await one.actionsOn("iss-a")).toEqual(["create_issuer", "ca_key_created"])
  })

  test("of the environment follow its variables until somebody edits them", async () => {
    const db = await openDb()
    const first = serverOn(db)
    await db.transaction((tx) => first.issuers.insertFromEnvironment(tx))
    await first.issuers.start()
    expect((await first.send("GET", "/iss-local")).body).toMatchObject({
      name: "Local CA",
      source: "env",
      config: { ca_common_name: "Env CA" },
    })
    expect((await db.read.select().from(db.t.caKeys)).map(({ issuerId }) => issuerId)).toEqual(["iss-local"])

    const renamed = serverOn(db, { commonName: "Other CA", files: null })
    await renamed.issuers.start()
    expect((await renamed.send("GET", "/iss-local")).body.config.ca_common_name).toBe("Other CA")
    expect((await renamed.send("PUT", "/iss-local", { name: "Ours" })).body.source).toBe("database")
    await serverOn(db, { commonName: "Third CA", files: null }).issuers.start()
    expect((await renamed.send("GET", "/iss-local")).body.config.ca_common_name).toBe("Other CA")
  })

  test("of the environment that could not sign keep the server from starting", async () => {
    const db = await openDb()
    const broken = serverOn(db, { commonName: "x", files: { certPath: "/nowhere.pem", keyPath: "/nowhere.key" } })
    await db.transaction((tx) => broken.issuers.insertFromEnvironment(tx))
    await expect(broken.issuers.start()).rejects.toThrow("cannot read /nowhere.")
  })
})
