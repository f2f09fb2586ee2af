import { expect, test } from "bun:test"
import { assembleApp, tester } from "../testing/assembled-app"
import { onEachDialect } from "../testing/on-each-dialect"

onEachDialect("the audit trail", (openDb) => {
  test("is read batch by batch, newest first, each event once, events of one moment included", async () => {
    const db = await openDb()
    const { audit, clock } = assembleApp(db)
    for (let n = 0; n < 11; n += 1) {
      if (n % 4 === 0) clock.advance(1000)
      await db.transaction((tx) =>
        audit.append(tx, { action: "noted", actor: tester, resourceType: "thing", resourceId: `t-${n}` }),
      )
    }
    const batches: string[][] = []
    for await (const events of audit.batches({ resourceType: "thing" }, 5)) {
      batches.push(events.map(({ resourceId }) => resourceId))
    }
    expect(batches.map(({ length }) => length)).toEqual([5, 5, 1])
    expect(new Set(batches.flat()).size).toBe(11)
    const listed = await audit.list({ resourceType: "thing" }, { page: 1, per_page: 50 })
    expect(batches.flat()).toEqual(listed.rows.map(({ resourceId }) => resourceId))
    const none: unknown[] = []
    for await (const events of audit.batches({ resourceType: "nothing" })) none.push(events)
    expect(none).toEqual([])
  })
})
