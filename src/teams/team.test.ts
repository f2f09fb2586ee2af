import { expect, test } from "bun:test"
import type { Db } from "../db/db"
import { operatorActor, viewerActor } from "../testing/api"
import { onEachDialect } from "../testing/on-each-dialect"
import { resourceApi, serviceParts } from "../testing/resource-api"
import { teamRoutes } from "./team.routes"
import { teamService } from "./team.service"
import { teamStore } from "./team.store"

const setUp = (db: Db, actor?: Parameters<typeof resourceApi>[2]) => {
  const parts = serviceParts(db)
  return { ...parts, send: resourceApi("teams", teamRoutes(teamService({ ...parts, teams: teamStore(db) })), actor) }
}

const idsIn = (rows: { id: string }[]) => rows.map(({ id }) => id)

onEachDialect("teams", (openDb) => {
  test("are created, shown, changed key by key and deleted, each with its audit event", async () => {
    const { send, actionsOn } = setUp(await openDb())
    const created = await send("POST", "", { name: "Platform", description: "runs it", created_at: "ignored" })
    expect(created.status).toBe(201)
    expect(created.body.id).toMatch(/^t-.{10,}$/)
    expect(created.body).toMatchObject({ name: "Platform", description: "runs it" })

    const changed = await send("PUT", `/${created.body.id}`, { description: "" })
    expect(changed).toMatchObject({ status: 200, body: { name: "Platform", description: "" } })
    expect(changed.body.updated_at).not.toBe(created.body.updated_at)
    expect(changed.body.created_at).toBe(created.body.created_at)
    expect(await send("GET", `/${created.body.id}`)).toEqual(changed)

    expect(await send("DELETE", `/${created.body.id}`)).toEqual({ status: 204, body: null })
    expect(await actionsOn(created.body.id)).toEqual(["create_team", "update_team", "delete_team"])
  })

  test("are listed newest first, in pages, with the number of all", async () => {
    const { send } = setUp(await openDb())
    for (const name of ["a", "b", "c"]) await send("POST", "", { name, id: `t-${name}` })
    const first = await send("GET", "?per_page=2")
    expect(first.body).toMatchObject({ total: 3, page: 1, per_page: 2 })
    expect(idsIn(first.body.data)).toEqual(["t-c", "t-b"])
    expect(idsIn((await send("GET", "?per_page=2&page=2")).body.data)).toEqual(["t-a"])
    expect((await send("GET", "?page=9")).body).toMatchObject({ data: [], total: 3, page: 9 })
  })

  test("have unique names and ids", async () => {
    const { send } = setUp(await openDb())
    await send("POST", "", { id: "t-one", name: "one" })
    await send("POST", "", { id: "t-two", name: "two" })
    expect(await send("POST", "", { name: "one" })).toMatchObject({ status: 409, body: { error: "Conflict" } })
    expect((await send("POST", "", { id: "t-one", name: "other" })).status).toBe(409)
    expect(await send("PUT", "/t-two", { name: "one" })).toMatchObject({
      status: 409,
      body: { message: 'a team with the name "one" exists already' },
    })
    expect((await send("PUT", "/t-two", { name: "two" })).status).toBe(200)
  })

  test("cannot be deleted while an owner belongs to them", async () => {
    const { send, db, actionsOn } = setUp(await openDb())
    await send("POST", "", { id: "t-one", name: "one" })
    await db.transaction(async (tx) => {
      const now = new Date()
      await tx.insert(db.t.owners).values({ id: "o-1", name: "Ada", teamId: "t-one", createdAt: now, updatedAt: now })
    })
    expect((await send("DELETE", "/t-one")).status).toBe(409)
    expect((await send("GET", "/t-one")).status).toBe(200)
    expect(await actionsOn("t-one")).toEqual(["create_team"])
  })

  test("are refused with the name of the wrong field", async () => {
    const { send } = setUp(await openDb())
    const refusal = async (body: object) => {
      const answer = await send("POST", "", body)
      return [answer.status, answer.body.message]
    }
    expect(await refusal({})).toEqual([400, "name is required"])
    expect(await refusal({ name: "  " })).toEqual([400, "name is required"])
    expect(await refusal({ name: "x".repeat(256) })).toEqual([400, "name must be at most 255 characters long"])
    expect(await refusal({ name: 7 })).toEqual([400, "name must be a string"])
    expect(await refusal({ name: "x", id: "a/b" })).toEqual([
      400,
      "id must not contain slashes, blanks or control characters",
    ])
  })

  test("are not found under an unknown id", async () => {
    const { send } = setUp(await openDb())
    for (const [method, body] of [["GET"], ["PUT", { name: "x" }], ["DELETE"]] as const) {
      expect(await send(method, "/t-none", body)).toMatchObject({
        status: 404,
        body: { message: "team t-none does not exist" },
      })
    }
  })

  test("are read by viewers and written by operators", async () => {
    const db = await openDb()
    const asViewer = setUp(db, viewerActor).send
    expect((await asViewer("GET", "")).status).toBe(200)
    expect((await asViewer("POST", "", { name: "x" })).status).toBe(403)
    expect((await setUp(db, operatorActor).send("POST", "", { name: "x" })).status).toBe(201)
  })
})
