/** What is known of an issuer's usability: tests that take a while and settings that change meanwhile. */
import { expect } from "bun:test"
import { eq, inArray } from "drizzle-orm"
import fc from "fast-check"
import type { Db } from "../db/db"
import { AppError } from "../errors"
import { canMove } from "../health/connection-test.machine"
import { createRootAuthority, openAuthority } from "../pki/authority"
import { openSealer } from "../secrets/sealing"
import { adminActor } from "../testing/api"
import { race } from "../testing/race"
import { illegalChanges, type RecordedChanges, recordChanges, untoldChanges } from "../testing/recorded-changes"
import { serviceParts } from "../testing/resource-api"
import { caKeyStore } from "./ca-key.store"
import { type IssuerService, issuerService } from "./issuer.service"
import { issuerStore } from "./issuer.store"
import type { IssuerDepsFor } from "./issuer-deps"

type Command = { does: "test" } | { does: "rename"; name: string } | { does: "change"; commonName: string }

interface World {
  readonly db: Db
  readonly servers: readonly IssuerService[]
  readonly changes: RecordedChanges
  id: string
  histories: number
}

const sealer = await openSealer({ passphrase: "a passphrase that is only for tests" })

race<Command, World>("the test of an issuer", {
  command: fc.oneof(
    { weight: 5, arbitrary: fc.record({ does: fc.constant("test" as const) }) },
    { weight: 1, arbitrary: fc.record({ does: fc.constant("rename" as const), name: fc.constantFrom("a", "b") }) },
    {
      weight: 3,
      arbitrary: fc.record({ does: fc.constant("change" as const), commonName: fc.constantFrom("good", "bad") }),
    },
  ),
  refusals: ["upstream", "conflict"],

  async open(handles) {
    const [db] = handles
    const { certPem, privateKey } = await createRootAuthority({
      keyType: "ecdsa-p256",
      commonName: "Test CA",
      notBefore: new Date(Date.UTC(2029, 0, 1)),
      notAfter: new Date(Date.UTC(2050, 0, 1)),
    })
    const authority = await openAuthority({ certPem, chainPem: certPem, privateKey })
    const answer = async ({ commonName }: { commonName?: string }) => {
      await Bun.sleep(1)
      if (commonName === "bad") throw new AppError("unavailable", "the CA's key cannot be opened")
      return authority
    }
    const servers = handles.map((handle) => {
      const parts = serviceParts(handle)
      const { clock } = parts
      const depsFor: IssuerDepsFor = () => ({
        fetch,
        clock,
        backdateMs: 0,
        heldAuthority: answer,
        heldAuthorities: async () => [authority],
        authorityFromFiles: async () => authority,
        publicUrls: () => ({ crl: [], ocsp: [], caCertificate: [] }),
      })
      const issuers = issuerStore(handle)
      return issuerService({ ...parts, issuers, caKeys: caKeyStore(handle), sealer, depsFor, fromEnvironment: [] })
    })
    const changes = await recordChanges(db, { table: "issuers", state: (row) => `${row}.test_status` })
    return { db, servers, changes, id: "", histories: 0 }
  },

  async begin(world) {
    world.histories += 1
    const name = `issuer ${world.histories}`
    const issuer = await world.servers[0]?.create({ name, type: "local", config: {}, enabled: true }, adminActor)
    world.id = issuer?.id ?? ""
    await world.changes.forget()
  },

  async perform({ servers, id, histories }, command, at) {
    const server = servers[at]
    if (server === undefined) throw new Error("there is no such server")
    switch (command.does) {
      case "test":
        return server.test(id, adminActor)
      case "rename":
        return server.update(id, { name: `issuer ${histories} ${command.name}` }, adminActor)
      case "change":
        return server.update(id, { config: { ca_common_name: command.commonName } }, adminActor)
    }
  },

  async check({ db, changes, id }) {
    const { auditEvents, issuers } = db.t
    const happened = await changes.all()
    expect(illegalChanges(happened, canMove)).toEqual([])
    const events = await db.read
      .select()
      .from(auditEvents)
      .where(inArray(auditEvents.resourceId, [id]))
      .orderBy(auditEvents.id)
    const told = events.flatMap(({ details: { from, to } }) =>
      to === undefined ? [] : [{ id, from: String(from), to: String(to) }],
    )
    expect(untoldChanges(happened, told)).toEqual([])
    // What is known is known of the configuration there is now, never of one that was tested before it.
    const [issuer] = await db.read.select().from(issuers).where(eq(issuers.id, id))
    const known = issuer?.config.ca_common_name === "bad" ? "failed" : "success"
    expect(issuer?.testStatus).toBeOneOf(["untested", known])
  },
})
