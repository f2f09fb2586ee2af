import { expect, test } from "bun:test"
import { openConsole } from "../../src/testing/console"
import { onEachDialect } from "../../src/testing/on-each-dialect"
import { insertAgent, insertCertificate } from "../../src/testing/rows"

onEachDialect("the search page", (openDb) => {
  test("shows what was found by kind, the kind of the best match first, with the way to more", async () => {
    const db = await openDb()
    const { visitor } = await openConsole(db)
    for (let n = 0; n < 9; n++) await insertCertificate(db, { id: `mc-${n}`, commonName: `shop-${n}.example` })
    await insertAgent(db, { id: "agent-1", name: "shop" })
    const viewer = await visitor("viewer")
    const { status, text } = await viewer.get("/search?q=SHOP")
    expect(status).toBe(200)
    expect(text.indexOf(`href="/agents/agent-1"`)).toBeGreaterThan(0)
    expect(text.indexOf(`href="/agents/agent-1"`)).toBeLessThan(text.indexOf(`href="/certificates/mc-8"`))
    expect(text).toContain(`<mark>shop</mark>-8.example`)
    expect(text).toContain(`href="/certificates?search=SHOP"`)
    expect(text).not.toContain(`href="/certificates/mc-0"`)
    expect((await viewer.get("/search?q=shop&kind=certificate")).text).toContain(`href="/certificates/mc-0"`)
  })

  test("says when there is nothing, keeps what was typed, and shows it as text", async () => {
    const { visitor } = await openConsole(await openDb())
    const viewer = await visitor("viewer")
    const { text } = await viewer.get(`/search?q=${encodeURIComponent('<i>"nobody"</i>')}`)
    expect(text).toContain("Nothing has")
    expect(text.includes("<i>")).toBe(false)
    expect((await viewer.get("/search")).text).toContain("Search everything")
  })
})
