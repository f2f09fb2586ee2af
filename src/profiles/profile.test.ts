import { expect, test } from "bun:test"
import type { Db } from "../db/db"
import { viewerActor } from "../testing/api"
import { onEachDialect } from "../testing/on-each-dialect"
import { resourceApi, serviceParts } from "../testing/resource-api"
import { insertCertificate } from "../testing/rows"
import { profileRoutes } from "./profile.routes"
import { profileService } from "./profile.service"
import { profileStore } from "./profile.store"

const setUp = (db: Db, actor?: Parameters<typeof resourceApi>[2]) => {
  const parts = serviceParts(db)
  const profiles = profileService({ ...parts, profiles: profileStore(db) })
  return { ...parts, send: resourceApi("profiles", profileRoutes(profiles), actor) }
}

onEachDialect("profiles", (openDb) => {
  test("allow ECDSA, RSA and server authentication unless told otherwise", async () => {
    const { send, actionsOn } = setUp(await openDb())
    const { status, body } = await send("POST", "", { name: "web" })
    expect(status).toBe(201)
    expect(body).toEqual({
      id: body.id,
      name: "web",
      description: "",
      allowed_key_algorithms: [
        { algorithm: "ECDSA", min_size: 256 },
        { algorithm: "RSA", min_size: 2048 },
      ],
      max_ttl_seconds: 0,
      allowed_ekus: ["serverAuth"],
      required_san_patterns: [],
      spiffe_uri_pattern: "",
      allow_short_lived: false,
      enabled: true,
      must_staple: false,
      created_at: body.created_at,
      updated_at: body.updated_at,
    })
    expect(body.id).toMatch(/^prof-.{10,}$/)
    expect((await send("DELETE", `/${body.id}`)).status).toBe(204)
    expect(await actionsOn(body.id)).toEqual(["create_profile", "delete_profile"])
  })

  test("keep what a change does not name", async () => {
    const { send } = setUp(await openDb())
    const rules = [{ algorithm: "Ed25519", min_size: 7 }, { algorithm: "RSA" }]
    await send("POST", "", {
      id: "prof-a",
      name: "a",
      allowed_key_algorithms: rules,
      required_san_patterns: ["*.a.test"],
    })
    const answer = await send("PUT", "/prof-a", { enabled: false })
    expect(answer).toMatchObject({
      status: 200,
      body: {
        enabled: false,
        allowed_key_algorithms: [
          { algorithm: "Ed25519", min_size: 256 },
          { algorithm: "RSA", min_size: 2048 },
        ],
        required_san_patterns: ["*.a.test"],
      },
    })
    expect((await send("GET", "")).body).toMatchObject({ total: 1, data: [answer.body] })
  })

  test("that are short-lived live less than an hour, also when the two settings come one after the other", async () => {
    const { send, actionsOn } = setUp(await openDb())
    const tooLong = { allow_short_lived: true, max_ttl_seconds: 3600 }
    expect(await send("POST", "", { name: "x", ...tooLong })).toMatchObject({ status: 400 })
    await send("POST", "", { id: "prof-a", name: "a", max_ttl_seconds: 86_400 })
    expect(await send("PUT", "/prof-a", { allow_short_lived: true })).toMatchObject({
      status: 400,
      body: { message: "max_ttl_seconds must be below 3600 in a profile with allow_short_lived" },
    })
    expect((await send("GET", "/prof-a")).body.allow_short_lived).toBe(false)
    expect(await actionsOn("prof-a")).toEqual(["create_profile"])
    expect((await send("PUT", "/prof-a", { allow_short_lived: true, max_ttl_seconds: 300 })).status).toBe(200)
  })

  test("have unique names", async () => {
    const { send } = setUp(await openDb())
    await send("POST", "", { id: "prof-a", name: "a" })
    await send("POST", "", { id: "prof-b", name: "b" })
    expect((await send("POST", "", { name: "a" })).status).toBe(409)
    expect((await send("PUT", "/prof-b", { name: "a" })).status).toBe(409)
    expect((await send("PUT", "/prof-none", { name: "a" })).status).toBe(404)
    expect((await send("GET", "/prof-none")).status).toBe(404)
    expect((await send("DELETE", "/prof-none")).status).toBe(404)
  })

  test("leave their certificates behind when they are deleted", async () => {
    const db = await openDb()
    const { send } = setUp(db)
    await send("POST", "", { id: "prof-a", name: "a" })
    await insertCertificate(db, { certificateProfileId: "prof-a" })
    expect((await send("DELETE", "/prof-a")).status).toBe(204)
    const [certificate] = await db.read.select().from(db.t.certificates)
    expect(certificate?.certificateProfileId).toBeNull()
  })

  test.each([
    [{ allowed_key_algorithms: [{ algorithm: "RSA", min_size: 1024 }] }, /min_size must be at least 2048/],
    [
      { allowed_key_algorithms: [{ algorithm: "DSA", min_size: 2048 }] },
      /algorithm must be one of RSA, ECDSA, Ed25519/,
    ],
    [{ allowed_ekus: ["anything"] }, /allowed_ekus\[0\] must be one of serverAuth, clientAuth/],
    [{ max_ttl_seconds: -1 }, /max_ttl_seconds must be at least 0/],
    [{ required_san_patterns: ["("] }, /required_san_patterns\[0\] must be a regular expression/],
    [{ spiffe_uri_pattern: "https://x" }, /spiffe_uri_pattern must be a SPIFFE id/],
  ])("refuse %j", async (settings, message) => {
    const { send } = setUp(await openDb())
    const answer = await send("POST", "", { name: "x", ...settings })
    expect(answer.status).toBe(400)
    expect(answer.body.message).toMatch(message)
  })

  test("are written by operators only", async () => {
    const { send } = setUp(await openDb(), viewerActor)
    expect((await send("POST", "", { name: "x" })).status).toBe(403)
  })
})
