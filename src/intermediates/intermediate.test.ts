import { afterEach, expect, test } from "bun:test"
import { mkdtempSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { readConfig } from "../config"
import type { Db } from "../db/db"
import { createRootAuthority } from "../pki/authority"
import { parseCertificate } from "../pki/certificate"
import { buildCsr } from "../pki/csr"
import { generateKey, privateKeyPem } from "../pki/keys"
import { openssl } from "../pki/openssl.process"
import { certificateBlocks, toPem } from "../pki/pem"
import { openSealer } from "../secrets/sealing"
import { onEachDialect } from "../testing/on-each-dialect"
import { wire } from "../wiring"

const sealer = await openSealer({ passphrase: "a passphrase of more than 32 bytes" })
const day = 86_400_000

const folders: string[] = []
afterEach(() => {
  for (const folder of folders.splice(0)) rmSync(folder, { recursive: true, force: true })
})

const serverOn = async (db: Db) => {
  const folder = mkdtempSync(join(tmpdir(), "certctl-tree-"))
  folders.push(folder)
  const wired = wire({
    config: readConfig({
      CERTCTL_DATA_DIR: folder,
      CERTCTL_API_KEYS_NAMED: "root:root-key:admin,ops:ops-key",
      CERTCTL_RATE_LIMIT_ENABLED: "false",
    }),
    db,
    sealer,
    clock: { now: () => new Date() },
    serverId: "srv-test",
    caFingerprint: "",
  })
  await wired.prepare()
  const api = async (method: string, path: string, body?: object, key = "root-key") => {
    const answer = await wired.app.request(
      `/api/v1${path}`,
      {
        method,
        headers: { authorization: `Bearer ${key}` },
        ...(body === undefined ? {} : { body: JSON.stringify(body) }),
      },
      { remoteAddress: "127.0.0.1" },
    )
    const text = await answer.text()
    return { status: answer.status, body: text === "" ? null : JSON.parse(text) }
  }
  const root = await createRootAuthority({
    keyType: "ecdsa-p384",
    commonName: "Offline Root",
    notBefore: new Date(Date.now() - day),
    notAfter: new Date(Date.now() + 7300 * day),
  })
  const keyPath = join(folder, "root.key")
  writeFileSync(keyPath, privateKeyPem(root.privateKey), { mode: 0o600 })
  const made = await api("POST", "/issuers", { id: "iss-tree", name: "tree", type: "local", hierarchy_mode: "tree" })
  expect(made.body).toMatchObject({ hierarchy_mode: "tree" })
  const under = (body: object, key?: string) => api("POST", "/issuers/iss-tree/intermediates", body, key)
  const addRoot = () => under({ name: "root", root_cert_pem: root.certPem, key_driver_id: keyPath })
  const child = (name: string, parentId: string, more: object = {}) =>
    under({
      name,
      parent_ca_id: parentId,
      subject: { common_name: name, organization: ["Example"], country: ["de"] },
      ...more,
    })
  return { wired, api, under, addRoot, child, root, keyPath, folder }
}

type Server = Awaited<ReturnType<typeof serverOn>>

const issue = async ({ wired }: Server, name: string) => {
  const { connector } = await wired.services.issuers.connectorFor("iss-tree")
  const issued = await connector.issue({
    csrPem: buildCsr({ commonName: name, sans: [name], privateKey: await generateKey("ecdsa-p256") }),
    commonName: name,
    sans: [name],
    ekus: ["serverAuth"],
    maxTtlSeconds: 0,
    mustStaple: false,
    idempotencyKey: "once",
  })
  if (!("certPem" in issued)) throw new Error("the issuer ordered")
  return issued
}

/** What openssl says of a leaf, trusting the root alone. */
const verified = ({ root }: Server, issued: { certPem: string; chainPem: string }): string =>
  openssl(["verify", "-CAfile", "root.pem", "-untrusted", "chain.pem", "leaf.pem"], {
    "root.pem": root.certPem,
    "chain.pem": issued.chainPem,
    "leaf.pem": issued.certPem,
  }).text

onEachDialect("a hierarchy of CAs", (openDb) => {
  test("signs leaves with its deepest CA, under a chain that openssl verifies from the root", async () => {
    const server = await serverOn(await openDb())
    const root = await server.addRoot()
    expect(root.status).toBe(201)
    expect(root.body).toMatchObject({
      owning_issuer_id: "iss-tree",
      name: "root",
      state: "active",
      subject: "CN=Offline Root",
    })
    expect(root.body.parent_ca_id).toBeUndefined()

    const policy = await server.child("Policy CA", root.body.id, { algorithm: "ECDSA-P384", path_len_constraint: 1 })
    expect(policy.status).toBe(201)
    expect(policy.body.subject).toBe("CN=Policy CA,O=Example,C=DE")
    const issuing = await server.child("Issuing CA", policy.body.id, { ttl_days: 365, algorithm: "RSA-2048" })
    expect(issuing.body).toMatchObject({ parent_ca_id: policy.body.id, path_len_constraint: 0 })

    const issued = await issue(server, "www.example.com")
    expect(verified(server, issued)).toContain("OK")
    expect(certificateBlocks(issued.chainPem).map((der) => parseCertificate(der).commonName)).toEqual([
      "Issuing CA",
      "Policy CA",
    ])
    // Its lists are signed with the same key, and those of every CA before it are still there.
    const authorities = await server.wired.services.issuers.authoritiesOf("iss-tree")
    expect(authorities.map(({ commonName }) => commonName)).toEqual(["Issuing CA", "Policy CA"])

    const { body } = await server.api("GET", "/issuers/iss-tree/intermediates")
    expect(body.data.map((row: { name: string }) => row.name)).toEqual(["Issuing CA", "Policy CA", "root"])
    expect(JSON.stringify(body)).not.toContain("PRIVATE KEY")
    expect((await server.api("GET", `/intermediates/${issuing.body.id}`)).body).toEqual(issuing.body)
  })

  test("a key below the root survives in the database alone, sealed", async () => {
    const db = await openDb()
    const server = await serverOn(db)
    const root = await server.addRoot()
    await server.child("Issuing CA", root.body.id)
    rmSync(server.keyPath)
    const issued = await issue(server, "www.example.com")
    expect(verified(server, issued)).toContain("OK")
    const keys = await db.read.select().from(db.t.caKeys)
    for (const { encryptedKey } of keys) expect(encryptedKey.toString("latin1")).not.toContain("PRIVATE KEY")
  })

  test("name constraints narrow from level to level, and openssl enforces them", async () => {
    const server = await serverOn(await openDb())
    const root = await server.addRoot()
    const first = await server.child("Lab", root.body.id, {
      name_constraints: [{ permitted: ["example.com", "10.0.0.0/8"], excluded: ["secret.example.com"] }],
    })
    expect(first.status).toBe(201)
    const wider = await server.child("Wide", first.body.id, { name_constraints: [{ permitted: ["example.org"] }] })
    expect([wider.status, wider.body.message]).toEqual([400, expect.stringContaining("example.org")])
    const narrow = await server.child("Narrow", first.body.id, {
      name_constraints: [{ permitted: ["lab.example.com", "10.1.0.0/16"], excluded: ["x.lab.example.com"] }],
    })
    expect(narrow.body.name_constraints).toEqual([
      { permitted: ["lab.example.com", "10.1.0.0/16"], excluded: ["secret.example.com", "x.lab.example.com"] },
    ])
    expect(verified(server, await issue(server, "a.lab.example.com"))).toContain("OK")
    for (const name of ["www.example.com", "y.x.lab.example.com", "www.example.org"]) {
      expect(verified(server, await issue(server, name))).toMatch(
        /permitted subtree violation|excluded subtree violation/,
      )
    }
    const bad = await server.child("Bad", first.body.id, { name_constraints: [{ permitted: ["10.0.0.0/99"] }] })
    expect(bad.status).toBe(400)
  })

  test("a child is never allowed more than its parent", async () => {
    const server = await serverOn(await openDb())
    const root = await server.addRoot()
    const leafCa = await server.child("Leaf CA", root.body.id, { path_len_constraint: 0 })
    expect((await server.child("Below", leafCa.body.id)).status).toBe(400)
    const mid = await server.child("Mid", root.body.id, { path_len_constraint: 1 })
    expect((await server.child("Same", mid.body.id, { path_len_constraint: 1 })).status).toBe(400)
    const long = await server.child("Long", root.body.id, { ttl_days: 36_500 })
    expect(new Date(long.body.not_after).getTime()).toBeLessThanOrEqual(Date.now() + 7300 * day)
    expect((await server.child("Mid", root.body.id)).status).toBe(409)
    expect((await server.child("Lost", "ica-none")).status).toBe(400)
    expect((await server.addRoot()).status).toBe(409)
  })

  test("retiring takes two steps: new leaves move on at once, and a parent of living CAs stays", async () => {
    const server = await serverOn(await openDb())
    const root = await server.addRoot()
    const policy = await server.child("Policy CA", root.body.id)
    const old = await server.child("Issuing 1", policy.body.id)
    const young = await server.child("Issuing 2", policy.body.id)
    const retire = (id: string, body: object = {}, key?: string) =>
      server.api("POST", `/intermediates/${id}/retire`, body, key)

    const signer = async () =>
      parseCertificate(certificateBlocks((await issue(server, "a.example.com")).chainPem)[0] ?? Buffer.alloc(0))
        .commonName
    expect(await signer()).toBe("Issuing 2")
    expect((await retire(young.body.id, { note: "key ceremony" })).body).toEqual({
      id: young.body.id,
      decided_by: "root",
      confirmed: false,
    })
    expect(await signer()).toBe("Issuing 1")
    expect((await retire(young.body.id)).body.confirmed).toBe(false)
    expect((await server.api("GET", `/intermediates/${young.body.id}`)).body.state).toBe("retiring")
    expect((await server.child("Late", young.body.id)).status).toBe(409)
    expect((await retire(young.body.id, { confirm: true })).body.confirmed).toBe(true)
    expect((await retire(young.body.id, { confirm: true })).status).toBe(409)

    await retire(policy.body.id)
    expect((await retire(policy.body.id, { confirm: true })).status).toBe(409)
    await retire(old.body.id)
    await retire(old.body.id, { confirm: true })
    expect((await retire(policy.body.id, { confirm: true })).status).toBe(200)
    expect((await retire("ica-none")).status).toBe(404)
    const actions = (await server.wired.services.audit.list({ resourceId: young.body.id }, { page: 1, per_page: 10 }))
      .rows
    expect(actions.map(({ action }) => action).sort()).toEqual([
      "intermediate_ca_child_created",
      "intermediate_ca_retired",
      "intermediate_ca_retiring",
    ])
  })

  test("is for administrators, and for local CAs with a root that is one", async () => {
    const server = await serverOn(await openDb())
    const root = { name: "root", root_cert_pem: server.root.certPem, key_driver_id: server.keyPath }
    expect((await server.under(root, "ops-key")).status).toBe(403)
    expect((await server.api("GET", "/issuers/iss-tree/intermediates", undefined, "ops-key")).status).toBe(403)
    expect((await server.api("GET", "/issuers/iss-none/intermediates")).status).toBe(404)
    expect((await server.under({ ...root, key_driver_id: join(server.folder, "missing.key") })).status).toBe(500)
    const other = join(server.folder, "other.key")
    writeFileSync(other, privateKeyPem(await generateKey("ecdsa-p256")), { mode: 0o600 })
    expect((await server.under({ ...root, key_driver_id: other })).status).toBe(500)
    const leaf = await server.wired.services.issuers.connectorFor("iss-local")
    const issued = await leaf.connector.issue({
      csrPem: buildCsr({ commonName: "x", sans: ["x.example.com"], privateKey: await generateKey("ecdsa-p256") }),
      commonName: "x",
      sans: [],
      ekus: [],
      maxTtlSeconds: 0,
      mustStaple: false,
      idempotencyKey: "once",
    })
    if (!("certPem" in issued)) throw new Error("the issuer ordered")
    expect((await server.under({ ...root, root_cert_pem: issued.certPem })).status).toBe(400)
    expect((await server.under({ ...root, root_cert_pem: toPem("CERTIFICATE", Buffer.from("junk")) })).status).toBe(400)
    expect((await server.under({ name: "neither" })).status).toBe(400)
    expect((await server.addRoot()).status).toBe(201)
  })
})
