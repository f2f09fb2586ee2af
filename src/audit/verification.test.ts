import { expect, test } from "bun:test"
import { createHash } from "node:crypto"
import fc from "fast-check"
import type { Db } from "../db/db"
import { tester } from "../testing/assembled-app"
import { onEachDialect } from "../testing/on-each-dialect"
import { serviceParts } from "../testing/resource-api"
import { leafStore } from "./leaf.store"
import { sealingService } from "./sealing.service"
import { treeHash } from "./tree-hash"
import { verifyTrail } from "./verification"

/** RFC 9162 section 2.1.1 as it is written. */
const reference = (leaves: readonly Buffer[]): Buffer => {
  const sha256 = (...parts: readonly Uint8Array[]) => {
    const hash = createHash("sha256")
    for (const part of parts) hash.update(part)
    return hash.digest()
  }
  const [only] = leaves
  if (only === undefined) return sha256()
  if (leaves.length === 1) return only
  let half = 1
  while (half * 2 < leaves.length) half *= 2
  return sha256(Uint8Array.of(1), reference(leaves.slice(0, half)), reference(leaves.slice(half)))
}

test("the root of a tree is that of RFC 9162, after every leaf", () => {
  fc.assert(
    fc.property(fc.array(fc.uint8Array({ minLength: 32, maxLength: 32 }), { maxLength: 40 }), (leaves) => {
      const tree = treeHash()
      const added: Buffer[] = []
      expect(tree.root()).toBe(reference([]).toString("hex"))
      for (const leaf of leaves) {
        added.push(Buffer.from(leaf))
        tree.add(Buffer.from(leaf).toString("hex"))
        expect(tree.root()).toBe(reference(added).toString("hex"))
      }
    }),
  )
})

onEachDialect("the verification of the audit trail", (openDb, dialect) => {
  const setUp = async (n: number) => {
    const db = await openDb()
    const { audit, clock } = serviceParts(db)
    const leaves = leafStore(db)
    const sealing = sealingService({ db, leaves, clock })
    const add = async (count: number) => {
      const event = { action: "certificate_created", actor: tester, resourceType: "certificate", resourceId: "mc-1" }
      await db.transaction((tx) =>
        audit.append(tx, ...Array.from({ length: count }, () => ({ ...event, details: { é: [1] } }))),
      )
    }
    await add(n)
    await sealing.seal()
    return { db, leaves, add, sealing, verify: (more = {}) => verifyTrail({ leaves, batchSize: 7, ...more }) }
  }

  /** As somebody with the rights of the database's owner could. */
  const tamper = (db: Db, statement: string) =>
    db.changeSchema(async ({ run }) => {
      const triggers = ["audit_events", "audit_leaves"]
      for (const table of triggers) {
        if (dialect === "postgres") await run(`alter table ${table} disable trigger user`)
        else for (const what of ["update", "delete", "replace"]) await run(`drop trigger if exists ${table}_no_${what}`)
      }
      await run(statement)
    })

  test("goes through all of it, batch by batch, and counts what is not sealed yet", async () => {
    const { verify, add } = await setUp(30)
    await add(2)
    const seen: number[] = []
    const verified = await verify({ onProgress: (done: number) => seen.push(done) })
    expect(verified).toEqual({ size: 30, root: expect.stringMatching(/^[0-9a-f]{64}$/), unsealed: 2, problem: null })
    expect(seen).toEqual([7, 14, 21, 28, 30])
    expect(await verify({ batchSize: 1000 })).toEqual(verified)
  })

  test("of an empty trail finds nothing wrong", async () => {
    expect(await (await setUp(0)).verify()).toMatchObject({ size: 0, unsealed: 0, problem: null })
  })

  const nth = (n: number) => `(select event_id from audit_leaves where seq = ${n})`
  test.each([
    [
      "an event that was changed",
      `update audit_events set actor = 'evil' where id = ${nth(12)}`,
      11,
      "is not what was sealed",
    ],
    [
      "details that were changed",
      `update audit_events set details = '{}' where id = ${nth(3)}`,
      2,
      "is not what was sealed",
    ],
    [
      "a leaf that was changed",
      "update audit_leaves set leaf_hash = 'ab' where seq = 30",
      29,
      "is not what was sealed",
    ],
    ["a leaf that was removed", "delete from audit_leaves where seq = 9", 8, "number 9 is missing; the next one is 10"],
    [
      "the first that was removed",
      "delete from audit_leaves where seq = 1",
      0,
      "number 1 is missing; the next one is 2",
    ],
  ])("finds %s", async (_what, statement, size, words) => {
    const { db, verify } = await setUp(30)
    await tamper(db, statement)
    const { problem, ...rest } = await verify()
    expect(rest).toMatchObject({ size })
    expect(problem).toContain(words)
  })

  if (dialect === "postgres") {
    // The foreign key is in the way of a mere DELETE.
    test("finds an event that is gone though its leaf is there", async () => {
      const { db, verify } = await setUp(5)
      await tamper(
        db,
        `set session_replication_role = replica; delete from audit_events where id = ${nth(4)}; set session_replication_role = default`,
      )
      expect(await verify()).toMatchObject({
        size: 3,
        problem: expect.stringMatching(/number 4: event audit-\w+ is missing/),
      })
    })
  }

  test("finds by a noted root what was cut off or written anew", async () => {
    const { db, verify, add, sealing } = await setUp(20)
    const { size, root } = await verify()
    await add(10)
    await sealing.seal()
    expect(await verify({ noted: { size, root } })).toMatchObject({ size: 30, problem: null })
    expect(await verify({ noted: { size, root: "00".repeat(32) } })).toMatchObject({
      problem: expect.stringContaining("not those whose root hash was noted"),
    })
    await tamper(
      db,
      "delete from audit_leaves where seq > 15; delete from audit_events where id not in (select event_id from audit_leaves)",
    )
    expect(await verify()).toMatchObject({ size: 15, problem: null })
    expect(await verify({ noted: { size, root } })).toMatchObject({
      problem: "only 15 events are sealed, but there were 20 when the root hash was noted",
    })
  })
})
