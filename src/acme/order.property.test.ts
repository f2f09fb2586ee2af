/** Orders with their authorizations and challenges, under everything that clients and two servers may do at the same moment. */
import { afterAll, expect } from "bun:test"
import { mkdtempSync, rmSync } from "node:fs"
import { createServer } from "node:http"
import type { AddressInfo } from "node:net"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { desc } from "drizzle-orm"
import fc from "fast-check"
import { readConfig } from "../config"
import type { Db } from "../db/db"
import { buildCsr } from "../pki/csr"
import { generateKey } from "../pki/keys"
import { pemBlocks } from "../pki/pem"
import { openSealer } from "../secrets/sealing"
import { acmeKey } from "../testing/acme-client"
import { adminActor } from "../testing/api"
import { testClock } from "../testing/assembled-app"
import { race } from "../testing/race"
import { illegalChanges, type RecordedChanges, recordChanges } from "../testing/recorded-changes"
import { wire } from "../wiring"
import type { AccountRow } from "./account.store"
import { authorizationMoves, challengeMoves, orderMoves } from "./acme.machine"
import { readJwk } from "./jwk"

const minute = 60_000
const names = ["a.example.com", "b.example.com"]
const key = acmeKey()
const certificateKey = await generateKey("ecdsa-p256")
const sealer = await openSealer({ passphrase: "a passphrase of more than 32 bytes" })

type Command =
  | { does: "order" | "advance" | "clean" | "resume" }
  | { does: "prove"; pick: number; authorization: number; isRight: boolean }
  | { does: "giveUp"; pick: number; authorization: number }
  | { does: "finalize" | "look"; pick: number }

const openServer = async (db: Db, clock: ReturnType<typeof testClock>, port: number, place: number) => {
  const dataDir = mkdtempSync(join(tmpdir(), "certctl-acme-"))
  cleanups.push(() => rmSync(dataDir, { recursive: true, force: true }))
  const wired = wire({
    config: readConfig({
      CERTCTL_DATA_DIR: dataDir,
      CERTCTL_ACME_SERVER_ENABLED: "true",
      CERTCTL_ACME_SERVER_DEFAULT_AUTH_MODE: "challenge",
      CERTCTL_ACME_SERVER_ORDER_TTL: "60m",
      CERTCTL_ACME_SERVER_AUTHZ_TTL: "45m",
      CERTCTL_ACME_SERVER_RATE_LIMIT_ORDERS_PER_HOUR: "0",
      CERTCTL_ACME_SERVER_RATE_LIMIT_CONCURRENT_ORDERS: "0",
      CERTCTL_ACME_SERVER_RATE_LIMIT_CHALLENGE_RESPONDS_PER_HOUR: "0",
    }),
    db,
    sealer,
    clock,
    serverId: `server-${place}`,
    caFingerprint: "",
    acmeProofs: { port, rules: { allowLoopback: true }, resolve: async () => ["127.0.0.1"] },
  })
  await wired.prepare()
  const { server } = wired.services.acme
  if (server === null) throw new Error("the ACME server is off")
  return { ...server, profiles: wired.services.profiles }
}

const cleanups: (() => unknown)[] = []
afterAll(() => {
  for (const cleanup of cleanups.splice(0).reverse()) cleanup()
})

interface World {
  readonly db: Db
  readonly clock: ReturnType<typeof testClock>
  readonly servers: readonly Awaited<ReturnType<typeof openServer>>[]
  readonly account: AccountRow
  readonly changes: RecordedChanges
  /** Tokens whose file is in place. */
  readonly proven: Set<string>
}

const pick = fc.nat({ max: 2 })
const authorization = fc.nat({ max: 1 })
const moves = {
  acme_orders: orderMoves,
  acme_authorizations: authorizationMoves,
  acme_challenges: challengeMoves,
}

race<Command, World>("an ACME order", {
  command: fc.oneof(
    { weight: 3, arbitrary: fc.record({ does: fc.constant("order" as const) }) },
    {
      weight: 8,
      arbitrary: fc.record({
        does: fc.constant("prove" as const),
        pick,
        authorization,
        isRight: fc.nat({ max: 9 }).map((n) => n > 0),
      }),
    },
    { weight: 1, arbitrary: fc.record({ does: fc.constant("giveUp" as const), pick, authorization }) },
    { weight: 6, arbitrary: fc.record({ does: fc.constantFrom("finalize" as const, "look" as const), pick }) },
    {
      weight: 2,
      arbitrary: fc.record({ does: fc.constantFrom("advance" as const, "clean" as const, "resume" as const) }),
    },
  ),
  refusals: ["forbidden", "validation", "conflict", "not_found", "unavailable"],
  share: 0.4,

  async open(handles) {
    const [db] = handles
    const clock = testClock("2030-01-01T00:00:00.000Z")
    const proven = new Set<string>()
    const web = createServer((request, response) => {
      const token = request.url?.split("/").at(-1) ?? ""
      response.end(proven.has(token) ? `${token}.${key.thumbprint}` : "something else")
    })
    const { promise, resolve } = Promise.withResolvers<void>()
    web.listen(0, "127.0.0.1", resolve)
    await promise
    cleanups.push(() => web.close())
    const { port } = web.address() as AddressInfo
    const servers = await Promise.all(handles.map((handle, place) => openServer(handle, clock, port, place)))
    const [first] = servers
    if (first === undefined) throw new Error("there is no server")
    await first.profiles.create(
      {
        ...{ id: "prof-web", name: "web", description: "", allowedKeyAlgorithms: [], maxTtlSeconds: 0, enabled: true },
        ...{ allowedEkus: ["serverAuth"], requiredSanPatterns: [], spiffeUriPattern: "", allowShortLived: false },
        ...{ requiredCsrAttributes: [], mustStaple: false, requiresApproval: false },
        ...{ acmeAuthMode: null, acmeIssuerId: null },
      },
      adminActor,
    )
    const door = await first.open("prof-web")
    const { account } = await first.accounts.open(door, { jwk: readJwk(key.jwk), payload: {}, url: door.base })
    const state = (row: string) => `${row}.status`
    const changes = await recordChanges(
      db,
      { table: "acme_orders", id: "order_id", state },
      { table: "acme_authorizations", id: "authz_id", state },
      { table: "acme_challenges", id: "challenge_id", state },
    )
    return { db, clock, servers, account, changes, proven }
  },

  async begin({ db, clock, servers, changes, proven }) {
    // What an earlier history left open ends.
    clock.advance(90 * minute)
    await servers[0]?.cleanUp.run(new AbortController().signal)
    await db.transaction((tx) => tx.delete(db.t.acmeOrders))
    proven.clear()
    await changes.forget()
  },

  async perform({ db, clock, servers, account, proven }, command, at) {
    const server = servers[at]
    if (server === undefined) throw new Error("there is no such server")
    const { acmeOrders } = db.t
    const door = await server.open("prof-web")
    const by = (payload: Record<string, unknown> | null) => ({ account, payload, url: door.base })
    const orderAt = async (place: number) =>
      (
        await db.read
          .select()
          .from(acmeOrders)
          .orderBy(desc(acmeOrders.id))
          .limit(place + 1)
      )[place]
    const partOf = async (place: number, which: number) => {
      const order = await orderAt(place)
      return order === undefined ? undefined : (await server.orders.withParts(order)).authorizations[which]
    }
    switch (command.does) {
      case "order":
        return server.orders.create(door, by({ identifiers: names.map((value) => ({ type: "dns", value })) }))
      case "prove": {
        const part = await partOf(command.pick, command.authorization)
        if (part === undefined) return
        const { challenges } = await server.orders.authorization(by(null), part.id)
        const challenge = challenges.find(({ type }) => type === "http-01")
        if (challenge === undefined) return
        if (command.isRight) proven.add(challenge.token)
        return server.challenges.respond(by({}), challenge.id)
      }
      case "giveUp": {
        const part = await partOf(command.pick, command.authorization)
        return part && server.orders.authorization(by({ status: "deactivated" }), part.id)
      }
      case "finalize": {
        const order = await orderAt(command.pick)
        const csr = pemBlocks(buildCsr({ commonName: "", sans: names, privateKey: certificateKey }))[0]?.der
        return order && server.certificates.finalize(door, by({ csr: csr?.toString("base64url") }), order.id)
      }
      case "look": {
        const order = await orderAt(command.pick)
        return order && server.certificates.look(door, by(null), order.id)
      }
      case "advance":
        return clock.advance(20 * minute)
      case "clean":
        return server.cleanUp.run(new AbortController().signal)
      case "resume":
        return server.challenges.resume()
    }
  },

  async check({ db, servers, changes }) {
    for (const { challenges } of servers) await challenges.idle()
    const happened = await changes.all()
    for (const [table, allowed] of Object.entries(moves)) {
      const own = happened.filter((change) => change.table === table)
      const canMove = (from: string, to: string) =>
        (allowed as Readonly<Record<string, readonly string[]>>)[from]?.includes(to) === true
      expect(illegalChanges(own, canMove)).toEqual([])
    }
    const { acmeOrders, acmeAuthorizations, acmeChallenges, certificateVersions } = db.t
    const [orders, authorizations, challenges, versions] = await Promise.all([
      db.read.select().from(acmeOrders),
      db.read.select().from(acmeAuthorizations),
      db.read.select().from(acmeChallenges),
      db.read.select({ id: certificateVersions.id }).from(certificateVersions),
    ])
    const issued = orders.flatMap(({ versionId }) => versionId ?? [])
    // One X.509 an order, and none that no order knows of.
    expect(new Set(issued).size).toBe(issued.length)
    const ever = happened.filter(({ table, to }) => table === "acme_orders" && to === "valid").length
    expect(issued.length).toBe(ever)
    expect(versions.length).toBeGreaterThanOrEqual(issued.length)
    for (const { id, status, versionId, csrPem, error } of orders) {
      expect([id, status === "valid", versionId !== null]).toEqual([id, versionId !== null, status === "valid"])
      expect([id, status === "invalid"]).toEqual([id, error !== null])
      if (status === "valid" || status === "processing") expect([id, csrPem]).not.toEqual([id, null])
      const parts = authorizations.filter(({ orderId }) => orderId === id).map((part) => part.status)
      if (status === "ready")
        expect([id, parts.filter((part) => part !== "valid" && part !== "expired")]).toEqual([id, []])
      if (status === "pending") expect([id, parts.includes("invalid")]).toEqual([id, false])
    }
    for (const { id, status } of authorizations) {
      const own = challenges.filter(({ authorizationId }) => authorizationId === id).map((one) => one.status)
      if (status === "valid" || status === "invalid") expect([id, own.includes(status)]).toEqual([id, true])
      expect([id, own.includes("processing")]).toEqual([id, false])
    }
  },
})
