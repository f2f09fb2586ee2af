import { expect, test } from "bun:test"
import type { Db } from "../db/db"
import { viewerActor } from "../testing/api"
import { onEachDialect } from "../testing/on-each-dialect"
import { resourceApi, serviceParts } from "../testing/resource-api"
import { insertCertificate } from "../testing/rows"
import { ownerRoutes } from "./owner.routes"
import { ownerService } from "./owner.service"
import { ownerStore } from "./owner.store"

const setUp = (db: Db, actor?: Parameters<typeof resourceApi>[2]) => {
  const parts = serviceParts(db)
  const owners = ownerService({ ...parts, owners: ownerStore(db) })
  return { ...parts, send: resourceApi("owners", ownerRoutes(owners), actor) }
}

const insertTeam = (db: Db, id: string) =>
  db.transaction(async (tx) => {
    const now = new Date()
    await tx.insert(db.t.teams).values({ id, name: id, createdAt: now, updatedAt: now })
  })

onEachDialect("owners", (openDb) => {
  test("are created, shown, changed key by key and deleted, each with its audit event", async () => {
    const db = await openDb()
    const { send, actionsOn } = setUp(db)
    await insertTeam(db, "t-one")
    const created = await send("POST", "", { name: "Ada", email: "ada@example.com", team_id: "t-one" })
    expect(created.status).toBe(201)
    expect(created.body.id).toMatch(/^o-.{10,}$/)
    const { id } = created.body
    expect(await send("PUT", `/${id}`, { name: "Ada L." })).toMatchObject({
      status: 200,
      body: { name: "Ada L.", email: "ada@example.com", team_id: "t-one" },
    })
    expect((await send("GET", `/${id}`)).body.team_id).toBe("t-one")
    expect((await send("DELETE", `/${id}`)).status).toBe(204)
    expect((await send("DELETE", `/${id}`)).status).toBe(404)
    expect(await actionsOn(id)).toEqual(["create_owner", "update_owner", "delete_owner"])
  })

  test("may be without team and mail address, and share a name", async () => {
    const db = await openDb()
    const { send } = setUp(db)
    await insertTeam(db, "t-one")
    const first = await send("POST", "", { name: "Ada", team_id: "t-one" })
    const second = await send("POST", "", { name: "Ada" })
    expect(second).toMatchObject({ status: 201, body: { email: "", team_id: "" } })
    expect((await send("PUT", `/${first.body.id}`, { team_id: "" })).body.team_id).toBe("")
    const list = await send("GET", "?per_page=1")
    expect(list.body.total).toBe(2)
    expect(list.body.data[0].id).toBe(second.body.id)
  })

  test("are refused with the name of the wrong field", async () => {
    const { send } = setUp(await openDb())
    const refusal = async (body: object) => {
      const answer = await send("POST", "", body)
      return [answer.status, answer.body.message]
    }
    expect(await refusal({})).toEqual([400, "name is required"])
    expect(await refusal({ name: "x", email: "no address" })).toEqual([400, "email must be a mail address"])
    expect(await refusal({ name: "x", team_id: "t-none" })).toEqual([
      400,
      "team_id must be the id of an existing team; there is no t-none",
    ])
    const { body } = await send("POST", "", { name: "x" })
    expect((await send("PUT", `/${body.id}`, { team_id: "t-none" })).status).toBe(400)
    expect((await send("POST", "", { name: "x", id: body.id })).status).toBe(409)
    expect((await send("PUT", "/o-none", { name: "x" })).status).toBe(404)
    expect((await send("GET", "/o-none")).status).toBe(404)
  })

  test("cannot be deleted while a certificate is theirs", async () => {
    const db = await openDb()
    const { send } = setUp(db)
    const { ownerId } = await insertCertificate(db)
    expect(await send("DELETE", `/${ownerId}`)).toMatchObject({ status: 409 })
  })

  test("are written by operators only", async () => {
    const { send } = setUp(await openDb(), viewerActor)
    expect((await send("POST", "", { name: "x" })).status).toBe(403)
  })
})
