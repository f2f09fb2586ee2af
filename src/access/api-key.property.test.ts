/** The life of stored API keys: rotated, disabled and used at the same moment, on two servers. */
import { expect } from "bun:test"
import { eq } from "drizzle-orm"
import fc from "fast-check"
import type { Db } from "../db/db"
import { adminActor } from "../testing/api"
import { assembleApp } from "../testing/assembled-app"
import { race } from "../testing/race"
import { type RecordedChanges, recordChanges } from "../testing/recorded-changes"
import { secretHash } from "./secrets"

type Command = { does: "rotate" | "disable" } | { does: "use" | "signIn"; pick: number }

interface World {
  readonly db: Db
  readonly servers: readonly ReturnType<typeof assembleApp>[]
  readonly changes: RecordedChanges
  id: string
  /** Every secret the key ever had. */
  secrets: string[]
  /** Cookies of sessions that were opened. */
  tokens: string[]
}

const pick = fc.nat({ max: 4 })

race<Command, World>("an API key", {
  command: fc.oneof(
    { weight: 3, arbitrary: fc.record({ does: fc.constant("rotate" as const) }) },
    { weight: 1, arbitrary: fc.record({ does: fc.constant("disable" as const) }) },
    { weight: 3, arbitrary: fc.record({ does: fc.constant("use" as const), pick }) },
    { weight: 3, arbitrary: fc.record({ does: fc.constant("signIn" as const), pick }) },
  ),
  refusals: ["conflict", "invalid_state", "unauthenticated", "rate_limited"],

  async open(handles) {
    const [db] = handles
    const state = (row: string) => `case when ${row}.disabled_at is null then ${row}.hash else 'disabled' end`
    const changes = await recordChanges(db, { table: "api_keys", state })
    return { db, servers: handles.map((handle) => assembleApp(handle)), changes, id: "", secrets: [], tokens: [] }
  },

  async begin(world) {
    await world.db.transaction(async (tx) => {
      await tx.delete(world.db.t.apiKeys)
    })
    const created = await world.servers[0]?.keys.create({ name: "ci", role: "operator" }, adminActor)
    world.id = created?.row.id ?? ""
    world.secrets = [created?.key ?? ""]
    world.tokens = []
    await world.changes.forget()
  },

  async perform({ servers, id, secrets, tokens }, command, at) {
    const server = servers[at]
    if (server === undefined) throw new Error("there is no such server")
    switch (command.does) {
      case "rotate":
        return secrets.push((await server.keys.rotate(id, adminActor)).key)
      case "disable":
        return server.keys.disable(id, adminActor)
      case "use":
        return server.keys.holderOf(secrets[command.pick % secrets.length] ?? "")
      case "signIn": {
        const { token } = await server.sessions.signIn(secrets[command.pick % secrets.length] ?? "", "192.0.2.1")
        return tokens.push(token)
      }
    }
  },

  async check({ db, servers, changes, id, secrets, tokens }) {
    const happened = (await changes.all()).filter((change) => change.from !== null)
    const { auditEvents, sessions } = db.t
    const events = await db.read
      .select()
      .from(auditEvents)
      .where(eq(auditEvents.resourceId, id))
      .orderBy(auditEvents.id)
    const told = events.map(({ action }) => action).filter((action) => action !== "key_created")
    expect(told).toEqual(happened.map(({ to }) => (to === "disabled" ? "key_disabled" : "key_rotated")))
    // Terminal, and no rotation is lost: each secret that was handed out was the key for a while.
    expect(happened.findIndex(({ to }) => to === "disabled")).toBeOneOf([-1, happened.length - 1])
    const given = happened.map(({ to }) => to).filter((to) => to !== "disabled")
    expect(secrets.slice(1).map(secretHash).sort()).toEqual([...given].sort())

    const isDisabled = happened.at(-1)?.to === "disabled"
    const current = isDisabled ? null : (given.at(-1) ?? secretHash(secrets[0] ?? ""))
    for (const { keys, sessions: opened } of servers) {
      for (const secret of secrets) {
        expect((await keys.holderOf(secret)) !== null).toBe(secretHash(secret) === current)
      }
      for (const token of tokens) {
        const [session] = await db.read
          .select()
          .from(sessions)
          .where(eq(sessions.idHash, secretHash(token)))
        expect((await opened.find(token)) !== null).toBe(session !== undefined && session.keyHash === current)
      }
      await keys.close()
    }
  },
})
