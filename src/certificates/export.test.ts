import { expect, test } from "bun:test"
import { eq } from "drizzle-orm"
import type { Db } from "../db/db"
import { operatorActor, viewerActor } from "../testing/api"
import { onEachDialect } from "../testing/on-each-dialect"
import { revocationApi } from "../testing/revocation-api"

const setUp = async (db: Db, exportsPerHour = 0) => {
  const api = await revocationApi(db, { exportsPerHour })
  await api.map("mc-inside", "agent-1-a")
  await api.issue("mc-inside")
  return { ...api, db }
}

const pemPath = "/certificates/mc-inside/export/pem"
const p12Path = "/certificates/mc-inside/export/pkcs12"

onEachDialect("exports", (openDb) => {
  test("give leaf, chain and both as PEM, in JSON or as a file", async () => {
    const { ask, request, versions, eventsOf } = await setUp(await openDb())
    const [version] = await versions("mc-inside")
    const { body } = await ask("GET", pemPath, undefined, viewerActor)
    expect(Object.keys(body)).toEqual(["cert_pem", "chain_pem", "full_pem"])
    expect(body.full_pem).toBe(version?.pemChain)
    expect(body.cert_pem + body.chain_pem).toBe(body.full_pem)
    expect(body.cert_pem.match(/BEGIN/g)).toHaveLength(1)
    const file = await request("GET", `${pemPath}?download=true`)
    expect(file.headers.get("content-type")).toBe("application/x-pem-file")
    expect(file.headers.get("content-disposition")).toBe('attachment; filename="certificate.pem"')
    expect(await file.text()).toBe(body.full_pem)
    const events = (await eventsOf("mc-inside")).filter(({ action }) => action.includes("export"))
    expect(events.map(({ action, actor }) => [action, actor])).toEqual([
      ["export_pem", "viewer"],
      ["cert_export_pem", "viewer"],
      ["export_pem", "tester"],
      ["cert_export_pem", "tester"],
    ])
    for (const { details } of events) {
      expect(details).toEqual({ serial: version?.serialNumber, has_private_key: false })
    }
  })

  test("give a PKCS#12 file, and record it", async () => {
    const { request, eventsOf } = await setUp(await openDb())
    for (const body of [undefined, {}, { password: "" }, { password: null }, { password: "secret" }]) {
      const file = await request("POST", p12Path, body, operatorActor)
      expect(file.status).toBe(200)
      expect(file.headers.get("content-type")).toBe("application/x-pkcs12")
      expect(file.headers.get("content-disposition")).toBe('attachment; filename="certificate.p12"')
      expect(new Uint8Array(await file.arrayBuffer())[0]).toBe(0x30)
    }
    const events = (await eventsOf("mc-inside")).filter(({ action }) => action.includes("export"))
    expect(new Set(events.map(({ action }) => action))).toEqual(new Set(["export_pkcs12", "cert_export_pkcs12"]))
    expect(JSON.stringify(events)).not.toContain("secret")
    expect((await request("POST", p12Path, {}, viewerActor)).status).toBe(403)
  })

  test("are refused for the unknown, the never issued and what is no X.509", async () => {
    const { request, db } = await setUp(await openDb())
    for (const id of ["mc-unknown", "mc-outside"]) {
      expect((await request("GET", `/certificates/${id}/export/pem`)).status).toBe(404)
      expect((await request("POST", `/certificates/${id}/export/pkcs12`, {})).status).toBe(404)
    }
    for (const pemChain of ["", "no certificate", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"]) {
      await db.transaction((tx) =>
        tx
          .update(db.t.certificateVersions)
          .set({ pemChain })
          .where(eq(db.t.certificateVersions.certificateId, "mc-inside")),
      )
      expect((await request("POST", p12Path, {})).status).toBe(422)
    }
  })

  test("end at the hourly limit of each actor, whichever server is asked, and begin again after the hour", async () => {
    const { request, clock, eventsOf } = await setUp(await openDb(), 5)
    const statuses = (await Promise.all(Array.from({ length: 9 }, () => request("GET", pemPath)))).map(
      ({ status }) => status,
    )
    expect(statuses.toSorted()).toEqual([200, 200, 200, 200, 200, 429, 429, 429, 429])
    const refused = await request("POST", p12Path, {})
    expect(refused.status).toBe(429)
    expect(refused.headers.get("retry-after")).toBe("3600")
    expect(await refused.json()).toEqual({ error: "rate_limit_exceeded", retry_after_seconds: 3600 })
    expect((await request("GET", pemPath, undefined, operatorActor)).status).toBe(200)
    // What was refused was not exported.
    expect((await eventsOf("mc-inside")).filter(({ action }) => action === "export_pem")).toHaveLength(6)
    clock.advance(3_599_000)
    expect((await request("GET", pemPath)).status).toBe(429)
    clock.advance(1000)
    expect((await request("GET", pemPath)).status).toBe(200)
  })
})
