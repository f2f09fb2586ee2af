import { expect, test } from "bun:test"
import { eq } from "drizzle-orm"
import { anonymousActor } from "../access/actor"
import type { Db } from "../db/db"
import { newId } from "../db/ids"
import { operatorActor, viewerActor } from "../testing/api"
import { onEachDialect } from "../testing/on-each-dialect"
import { revocationApi } from "../testing/revocation-api"

const now = new Date(Date.UTC(2030, 0, 1))
const stamps = { createdAt: now, updatedAt: now }

const setUp = async (db: Db) => {
  const api = await revocationApi(db)
  await db.transaction(async (tx) => {
    await tx.insert(db.t.owners).values({ id: "o-2", name: "other", ...stamps })
    await tx.insert(db.t.teams).values({ id: "t-2", name: "others", ...stamps })
  })
  /** Certificates of owner o-2, each with one version unless `isIssued` says otherwise. */
  const stock = async (count: number, row: Partial<Db["t"]["certificates"]["$inferInsert"]> = {}, isIssued = true) => {
    const ids = Array.from({ length: count }, () => newId("mc-"))
    for (let from = 0; from < count; from += 500) {
      await db.transaction(async (tx) => {
        const part = ids.slice(from, from + 500)
        await tx.insert(db.t.certificates).values(
          part.map((id) => ({
            id,
            name: id,
            commonName: "www.example.com",
            sans: [],
            tags: {},
            ownerId: "o-2",
            teamId: "t-1",
            issuerId: "iss-inside",
            renewalPolicyId: "rp-auto",
            status: "Active" as const,
            ...stamps,
            ...row,
          })),
        )
        if (!isIssued) return
        await tx.insert(db.t.certificateVersions).values(
          part.map((certificateId) => ({
            id: newId("cv-"),
            certificateId,
            serialNumber: certificateId.slice(3),
            notBefore: now,
            notAfter: new Date(now.getTime() + 86_400_000),
            fingerprintSha256: certificateId,
            pemChain: "",
            issuerId: "iss-inside",
            createdAt: now,
          })),
        )
      })
    }
    return ids
  }
  const statusOf = async (id: string) => (await api.server.certificates.get(id)).status
  const summary = async (action: string) =>
    (await api.eventsOf("bulk")).filter((event) => event.action === action).map(({ details }) => details)
  return { ...api, db, stock, statusOf, summary }
}

onEachDialect("bulk revocation", (openDb) => {
  test("revokes every match, skips what is over, reports what fails, and goes on", async () => {
    const { ask, stock, statusOf, summary, revocations, errors } = await setUp(await openDb())
    const fine = await stock(1030)
    const gone = await stock(3, { status: "Archived" })
    const before = await stock(2, { status: "Revoked" })
    const [unissued] = await stock(1, {}, false)
    const foreign = await stock(1, { ownerId: "o-1" })
    const answer = await ask("POST", "/certificates/bulk-revoke", { owner_id: "o-2", reason: "superseded" })
    expect(answer).toEqual({
      status: 200,
      body: {
        total_matched: 1036,
        total_revoked: 1030,
        total_skipped: 5,
        total_failed: 1,
        errors: [{ certificate_id: unissued, error: expect.stringContaining("nothing was issued") }],
      },
    })
    expect(await revocations()).toHaveLength(1030)
    expect(await statusOf(fine[1029] ?? "")).toBe("Revoked")
    expect([await statusOf(gone[0] ?? ""), await statusOf(before[0] ?? "")]).toEqual(["Archived", "Revoked"])
    expect(await statusOf(foreign[0] ?? "")).toBe("Active")
    expect(await summary("bulk_revocation_initiated")).toEqual([
      {
        criteria: { owner_id: "o-2" },
        reason: "superseded",
        total_matched: 1036,
        total_revoked: 1030,
        total_skipped: 5,
        total_failed: 1,
      },
    ])
    expect(errors).toEqual([])
  }, 60_000)

  test("criteria are all to be met, unknown ids drop out, and an answer without failures has no errors", async () => {
    const { ask, stock, eventsOf, map, issue } = await setUp(await openDb())
    const [one = "", two = ""] = await stock(2)
    const body = { certificate_ids: [one, two, one, "mc-unknown"], team_id: "t-2", reason: "keyCompromise" }
    expect((await ask("POST", "/certificates/bulk-revoke", body)).body).toEqual({
      total_matched: 0,
      total_revoked: 0,
      total_skipped: 0,
      total_failed: 0,
    })
    const answer = await ask("POST", "/certificates/bulk-revoke", { ...body, team_id: "t-1" })
    expect(answer.body).toEqual({ total_matched: 2, total_revoked: 2, total_skipped: 0, total_failed: 0 })
    expect((await eventsOf(one)).map(({ action }) => action)).toEqual([
      "certificate_revoked",
      "certificate_revocation_notified",
    ])
    await map("mc-inside", "agent-1-a")
    await issue("mc-inside")
    const byAgent = await ask("POST", "/certificates/bulk-revoke", { agent_id: "agent-1", reason: "unspecified" })
    expect(byAgent.body).toMatchObject({ total_matched: 1, total_revoked: 1 })
  })

  test("asks for an admin before it looks at the body, also where authentication is off", async () => {
    const { request } = await setUp(await openDb())
    for (const path of ["/certificates/bulk-revoke", "/est/certificates/bulk-revoke"]) {
      for (const actor of [operatorActor, viewerActor, anonymousActor]) {
        expect((await request("POST", path, "{not json", actor)).status).toBe(403)
      }
    }
  })

  test("refuses what does not say which certificates are meant, or why", async () => {
    const { ask, stock, statusOf } = await setUp(await openDb())
    const [one = ""] = await stock(1)
    const refused: [unknown, string][] = [
      ["{", "JSON"],
      [{ owner_id: "o-2" }, "reason is required"],
      [{ owner_id: "o-2", reason: "" }, "reason is required"],
      [{ owner_id: "o-2", reason: "removeFromCRL" }, "reason must be one of"],
      [{ reason: "superseded" }, "must name at least one of"],
      [{ reason: "superseded", owner_id: "", certificate_ids: [], owner: "o-2" }, "must name at least one of"],
      [{ reason: "superseded", certificate_ids: one }, "certificate_ids must be"],
    ]
    for (const path of ["/certificates/bulk-revoke", "/est/certificates/bulk-revoke"]) {
      for (const [body, words] of refused) {
        const answer = await ask("POST", path, body)
        expect(answer.status).toBe(400)
        expect(answer.body.message).toContain(words)
      }
    }
    expect(await statusOf(one)).toBe("Active")
  })

  test("one certificate that spoils its transaction fails alone", async () => {
    const { ask, stock, statusOf, db, revocations } = await setUp(await openDb())
    const ids = await stock(60)
    const bad = ids[30] ?? ""
    // Nothing a service writes: the database itself refuses this one row.
    await db.changeSchema(async (connection) => {
      await connection.run(
        db.dialect === "sqlite"
          ? `create trigger refuse before insert on certificate_revocations when new.certificate_id = '${bad}' begin select raise(abort, 'no'); end`
          : `create function refuse() returns trigger language plpgsql as $$ begin if new.certificate_id = '${bad}' then raise exception 'no'; end if; return new; end $$;
             create trigger refuse before insert on certificate_revocations for each row execute function refuse()`,
      )
    })
    const answer = await ask("POST", "/certificates/bulk-revoke", { owner_id: "o-2", reason: "superseded" })
    expect(answer.body).toMatchObject({ total_matched: 60, total_revoked: 59, total_failed: 1 })
    expect(answer.body.errors).toEqual([{ certificate_id: bad, error: "internal error" }])
    expect(await statusOf(bad)).toBe("Active")
    expect(await revocations()).toHaveLength(59)
  })

  test("by EST means what came by EST, and only that", async () => {
    const { ask, stock, statusOf, summary } = await setUp(await openDb())
    const [est = ""] = await stock(1, { source: "EST" })
    const [other = ""] = await stock(1)
    const answer = await ask("POST", "/est/certificates/bulk-revoke", { owner_id: "o-2", reason: "keyCompromise" })
    expect(answer.body).toEqual({ total_matched: 1, total_revoked: 1, total_skipped: 0, total_failed: 0 })
    expect([await statusOf(est), await statusOf(other)]).toEqual(["Revoked", "Active"])
    expect(await summary("est_bulk_revoke")).toMatchObject([
      { criteria: { owner_id: "o-2", source: "EST" }, total_revoked: 1 },
    ])
    expect(await summary("bulk_revocation_initiated")).toEqual([])
  })
})

onEachDialect("bulk renewal", (openDb) => {
  test("opens a run for every match and skips what cannot or need not be renewed", async () => {
    const { ask, stock, statusOf, summary, jobsOf } = await setUp(await openDb())
    const fine = await stock(40)
    for (const row of [
      { status: "Archived" },
      { status: "Revoked" },
      { status: "RenewalInProgress" },
      { source: "EST" },
      { source: "SCEP" },
      { source: "ACME" },
    ] as const) {
      await stock(1, row)
    }
    const answer = await ask("POST", "/certificates/bulk-renew", { owner_id: "o-2" }, operatorActor)
    expect(answer.body).toMatchObject({ total_matched: 46, total_enqueued: 40, total_skipped: 6, total_failed: 0 })
    expect("errors" in answer.body).toBe(false)
    expect(answer.body.enqueued_jobs).toHaveLength(40)
    const { certificate_id: id, job_id: jobId } = answer.body.enqueued_jobs[0]
    expect(fine).toContain(id)
    expect(await jobsOf(id)).toMatchObject([{ id: jobId, requestedBy: "operator" }])
    expect(await statusOf(id)).toBe("RenewalInProgress")
    expect(await summary("bulk_renewal_initiated")).toMatchObject([{ total_matched: 46, total_enqueued: 40 }])
    const again = await ask("POST", "/certificates/bulk-renew", { owner_id: "o-2" }, operatorActor)
    expect(again.body).toEqual({ total_matched: 46, total_enqueued: 0, total_skipped: 46, total_failed: 0 })
  })

  test("needs criteria and an operator", async () => {
    const { ask } = await setUp(await openDb())
    expect((await ask("POST", "/certificates/bulk-renew", {}, operatorActor)).status).toBe(400)
    expect((await ask("POST", "/certificates/bulk-renew", { owner_id: "o-2" }, viewerActor)).status).toBe(403)
  })
})

onEachDialect("bulk reassignment", (openDb) => {
  test("moves what is somebody else's, and counts unknown ids as failed, not as matched", async () => {
    const { ask, stock, server, summary, eventsOf, db } = await setUp(await openDb())
    const [one = "", two = "", three = "", archived = ""] = await stock(4)
    await db.transaction((tx) =>
      tx.update(db.t.certificates).set({ ownerId: "o-1" }).where(eq(db.t.certificates.id, one)),
    )
    await server.certificates.archive(archived, operatorActor)
    const ids = [one, two, three, archived, "mc-unknown"]
    const toOwner = { certificate_ids: ids, owner_id: "o-1" }
    const answer = await ask("POST", "/certificates/bulk-reassign", toOwner, operatorActor)
    expect(answer.body).toMatchObject({ total_matched: 4, total_reassigned: 2, total_skipped: 1, total_failed: 2 })
    expect(answer.body.errors).toContainEqual({
      certificate_id: "mc-unknown",
      error: "certificate mc-unknown does not exist",
    })
    expect(answer.body.errors.map((row: { certificate_id: string }) => row.certificate_id)).toContain(archived)
    const withTeam = { certificate_ids: [one, two], owner_id: "o-1", team_id: "t-2" }
    expect((await ask("POST", "/certificates/bulk-reassign", withTeam, operatorActor)).body).toEqual({
      total_matched: 2,
      total_reassigned: 2,
      total_skipped: 0,
      total_failed: 0,
    })
    expect(await server.certificates.get(two)).toMatchObject({ ownerId: "o-1", teamId: "t-2" })
    expect((await eventsOf(two)).map(({ action }) => action)).toEqual(["certificate_updated", "certificate_updated"])
    expect(await summary("bulk_reassignment_initiated")).toHaveLength(2)
  })

  test("names what is missing or unknown", async () => {
    const { ask, stock } = await setUp(await openDb())
    const [one = ""] = await stock(1)
    const refused: [unknown, string][] = [
      [{}, "certificate_ids is required"],
      [{ certificate_ids: [], owner_id: "o-1" }, "certificate_ids is required"],
      [{ certificate_ids: [one] }, "owner_id is required"],
      [{ certificate_ids: [one], owner_id: "" }, "owner_id is required"],
      [{ certificate_ids: [one], owner_id: "o-none" }, "owner_id must be an existing id"],
      [{ certificate_ids: [one], owner_id: "o-1", team_id: "t-none" }, "team_id must be an existing id"],
    ]
    for (const [body, words] of refused) {
      const answer = await ask("POST", "/certificates/bulk-reassign", body)
      expect(answer.status).toBe(400)
      expect(answer.body.message).toContain(words)
    }
  })
})
