/** A search finds what reading every row would find, whatever was written, indexed, changed and removed before it, and in which order. */
import { expect, test } from "bun:test"
import { eq } from "drizzle-orm"
import fc from "fast-check"
import { onEachDialect } from "../testing/on-each-dialect"
import { insertCertificate } from "../testing/rows"
import { searchIndex } from "./search-index"
import { indexRecent } from "./search-triggers"

const words = ["shop", "shopping", "api", "mail.api", "ops"] as const
const word = fc.constantFrom(...words)
const slot = fc.nat(7)
const event = fc.oneof(
  fc.record({ kind: fc.constant("insert" as const), slot, name: word }),
  fc.record({ kind: fc.constant("rename" as const), slot, name: word }),
  fc.record({ kind: fc.constant("remove" as const), slot }),
  fc.record({ kind: fc.constant("index" as const) }),
)

onEachDialect("the text index", (openDb) => {
  test("finds what reading every row finds, after any history", async () => {
    const db = await openDb()
    const { certificates } = db.t
    const index = searchIndex(db)
    let run = 0
    await fc.assert(
      fc.asyncProperty(fc.array(event, { minLength: 1, maxLength: 25 }), async (history) => {
        run += 1
        const rows = new Map<string, string>()
        for (const step of history) {
          const id = "slot" in step ? `mc-${run}-${step.slot}` : ""
          const name = "name" in step ? `${step.name}.run${run}.test` : ""
          if (step.kind === "index") await indexRecent(db)
          else if (step.kind === "insert" && !rows.has(id)) {
            await insertCertificate(db, { id, name: id, commonName: name })
            rows.set(id, name)
          } else if (step.kind === "rename" && rows.has(id)) {
            await db.transaction((tx) =>
              tx.update(certificates).set({ commonName: name }).where(eq(certificates.id, id)),
            )
            rows.set(id, name)
          } else if (step.kind === "remove" && rows.delete(id)) {
            await db.transaction((tx) => tx.delete(certificates).where(eq(certificates.id, id)))
          }
        }
        for (const asked of words.map((text) => `${text}.run${run}.`)) {
          const found = await index.find("certificate", asked, 100)
          const there = [...rows].filter(([, name]) => name.includes(asked)).map(([id]) => id)
          expect([asked, found.map(({ id }) => id).toSorted()]).toEqual([asked, there.toSorted()])
        }
      }),
      { numRuns: 40 },
    )
  })
})
