import { expect, test } from "bun:test"
import type { Db } from "../../src/db/db"
import { newId } from "../../src/db/ids"
import { createRootAuthority } from "../../src/pki/authority"
import { parseCertificate } from "../../src/pki/certificate"
import { openConsole } from "../../src/testing/console"
import { onEachDialect } from "../../src/testing/on-each-dialect"
import { insertCertificate } from "../../src/testing/rows"

const setUp = async (db: Db) => {
  const scene = await openConsole(db)
  const { certPem } = await createRootAuthority({
    keyType: "ecdsa-p256",
    commonName: "*.example.com",
    notBefore: new Date(Date.UTC(2020, 0, 1)),
    notAfter: new Date(Date.UTC(2040, 0, 1)),
  })
  const facts = parseCertificate(certPem)
  const issued = async (id: string) => {
    await insertCertificate(db, { id, commonName: "*.example.com", status: "Active" })
    await db.transaction((tx) =>
      tx.insert(db.t.certificateVersions).values({
        id: newId("cv-"),
        certificateId: id,
        serialNumber: `${facts.serial}${id.slice(3)}`,
        notBefore: facts.notBefore,
        notAfter: facts.notAfter,
        fingerprintSha256: id,
        pemChain: certPem,
        issuerId: "iss-1",
        createdAt: new Date(),
      }),
    )
  }
  for (const id of ["mc-a", "mc-b", "mc-c"]) await issued(id)
  const get = (id: string) => scene.services.certificates.get(id)
  return { ...scene, certPem, get }
}

onEachDialect("revoking in the console", (openDb) => {
  test("asks for the name and a reason, and then shows both", async () => {
    const { visitor, get } = await setUp(await openDb())
    const operator = await visitor("operator")
    expect((await operator.get("/certificates/mc-a/revoke")).text).toContain('name="reason"')
    const mistyped = await operator.post("/certificates/mc-a/revoke", { reason: "superseded", confirm: "example.com" })
    expect(mistyped.status).toBe(400)
    expect(mistyped.text).toContain("Type *.example.com to confirm")
    expect(mistyped.text).toMatch(/value="superseded" selected/)
    expect((await get("mc-a")).status).toBe("Active")
    const unknown = { reason: "because", confirm: "*.example.com" }
    expect((await operator.post("/certificates/mc-a/revoke", unknown)).status).toBe(400)
    const revoked = await operator.post("/certificates/mc-a/revoke", { ...unknown, reason: "keyCompromise" })
    expect(revoked.location).toBe("/certificates/mc-a?notice=certificate-revoked")
    const page = (await operator.get("/certificates/mc-a")).text
    expect(page).toContain("keyCompromise")
    expect(page).not.toContain("/certificates/mc-a/revoke")
  })

  test("several are named before it happens, and only administrators may", async () => {
    const { visitor, get } = await setUp(await openDb())
    const [admin, operator] = [await visitor("admin"), await visitor("operator")]
    expect((await operator.get("/certificates")).text).not.toContain("/certificates/bulk-revoke")
    expect((await operator.post("/certificates/bulk-revoke", { ids: ["mc-a"] })).status).toBe(403)
    expect((await admin.get("/certificates")).text).toContain('formaction="/certificates/bulk-revoke"')
    expect((await admin.post("/certificates/bulk-revoke", {})).location).toContain("notice=nothing-selected")
    const asked = await admin.post("/certificates/bulk-revoke", { ids: ["mc-a", "mc-b", "mc-unknown"] })
    expect(asked.text).toContain("Revoke 2 certificates?")
    expect((await get("mc-a")).status).toBe("Active")
    const answer = { ids: ["mc-a", "mc-b"], step: "answered", reason: "superseded" }
    expect((await admin.post("/certificates/bulk-revoke", { ...answer, confirm: "revoke 3" })).status).toBe(400)
    const done = await admin.post("/certificates/bulk-revoke", { ...answer, confirm: "revoke 2" })
    expect(done.location).toBe("/certificates?notice=certificates-revoked")
    expect([(await get("mc-a")).status, (await get("mc-b")).status, (await get("mc-c")).status]).toEqual([
      "Revoked",
      "Revoked",
      "Active",
    ])
    expect((await admin.get("/certificates/bulk-revoke")).location).toBe("/certificates")
  })

  test("selected ones get another owner, or are renewed", async () => {
    const { visitor, get, services } = await setUp(await openDb())
    const { id: ownerId } = await services.owners.create(
      { name: "new", email: "new@example.com", teamId: "t-1" },
      { name: "root", type: "User", role: "admin" },
    )
    const operator = await visitor("operator")
    const ids = ["mc-a", "mc-b"]
    expect((await operator.post("/certificates/bulk-reassign", { ids })).text).toContain("Choose an owner")
    const answered = { ids, step: "answered" }
    expect((await operator.post("/certificates/bulk-reassign", answered)).status).toBe(400)
    expect((await operator.post("/certificates/bulk-reassign", { ...answered, owner_id: "o-none" })).status).toBe(400)
    const done = await operator.post("/certificates/bulk-reassign", { ...answered, owner_id: ownerId })
    expect(done.location).toBe("/certificates?notice=certificates-reassigned")
    expect([(await get("mc-a")).ownerId, (await get("mc-c")).ownerId]).toEqual([ownerId, "o-1"])
    expect((await operator.post("/certificates/bulk-renew", { ids })).location).toContain("notice=renewals-started")
    expect((await get("mc-b")).status).toBe("RenewalInProgress")
  })

  test("files are for those who may have them, and each is on record", async () => {
    const { visitor, certPem, services } = await setUp(await openDb())
    const [operator, viewer] = [await visitor("operator"), await visitor("viewer")]
    expect((await viewer.get("/certificates/mc-a/export.pem")).text).toBe(certPem)
    expect((await viewer.post("/certificates/mc-a/export.p12", { password: "x" })).status).toBe(403)
    expect((await operator.get("/certificates/mc-a/export.p12")).text).toContain('type="password"')
    expect((await operator.post("/certificates/mc-a/export.p12", { password: " x " })).status).toBe(200)
    const { rows } = await services.audit.list({ resourceId: "mc-a" }, { page: 1, per_page: 10 })
    expect(rows.map(({ action, actor }) => `${action} ${actor}`).toReversed()).toEqual([
      "export_pem visitor-viewer",
      "cert_export_pem visitor-viewer",
      "export_pkcs12 visitor-operator",
      "cert_export_pkcs12 visitor-operator",
    ])
  })
})
