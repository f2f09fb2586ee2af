import { expect, test } from "bun:test"
import { openConsole } from "../../src/testing/console"
import { onEachDialect } from "../../src/testing/on-each-dialect"

const keyIn = (text: string): string => /certctl_[\w-]{20,}/.exec(text)?.[0] ?? ""

onEachDialect("the key pages", (openDb) => {
  const open = async () => openConsole(await openDb())

  test("a key is in the answer that makes it, in no URL, and nowhere afterwards", async () => {
    const { visitor, access } = await open()
    const admin = await visitor("admin")
    const made = await admin.post("/keys/new", { name: "ci", role: "operator", principal: "" })
    expect(made).toMatchObject({ status: 200, location: "", cacheControl: "no-store" })
    const key = keyIn(made.text)
    expect((await access.keys.holderOf(key))?.actor).toMatchObject({ name: "ci", role: "operator" })
    const list = await admin.get("/keys")
    expect(list.text).toContain("ci")
    expect(list.text).not.toContain(key)
    const { rows } = await access.keys.list({ search: "ci" }, { limit: 1, offset: 0 })
    expect(list.text).not.toContain(rows[0]?.hash ?? "none")
    // The browser's reload sends the form again: the name is taken, and nothing is shown.
    const again = await admin.post("/keys/new", { name: "ci", role: "operator", principal: "" })
    expect(again.status).toBe(409)
    expect(keyIn(again.text)).toBe("")
  })

  test("rotating ends the former key, and the form sent twice rotates once", async () => {
    const { visitor, access } = await open()
    const admin = await visitor("admin")
    const former = keyIn((await admin.post("/keys/new", { name: "ci", role: "viewer" })).text)
    const id = (await access.keys.holderOf(former))?.apiKeyId ?? ""
    const asked = await admin.get(`/keys/${id}/rotate`)
    const seen = /name="seen" value="(\w+)"/.exec(asked.text)?.[1] ?? ""
    const rotated = await admin.post(`/keys/${id}/rotate`, { seen })
    expect(rotated).toMatchObject({ status: 200, location: "", cacheControl: "no-store" })
    const key = keyIn(rotated.text)
    expect(await access.keys.holderOf(former)).toBeNull()
    expect((await access.keys.holderOf(key))?.apiKeyId).toBe(id)
    const reloaded = await admin.post(`/keys/${id}/rotate`, { seen })
    expect(reloaded.status).toBe(409)
    expect(keyIn(reloaded.text)).toBe("")
    expect((await access.keys.holderOf(key))?.apiKeyId).toBe(id)
  })

  test("a disabled key is refused and offers nothing more", async () => {
    const { visitor, access } = await open()
    const admin = await visitor("admin")
    const key = keyIn((await admin.post("/keys/new", { name: "ci", role: "viewer" })).text)
    const id = (await access.keys.holderOf(key))?.apiKeyId ?? ""
    expect((await admin.post(`/keys/${id}/disable`)).location).toBe("/keys?notice=disabled")
    expect(await access.keys.holderOf(key)).toBeNull()
    expect((await admin.get("/keys")).text).not.toContain(`/keys/${id}/rotate`)
  })

  test("a wrong form keeps what was typed and says what is wrong beside it", async () => {
    const { visitor } = await open()
    const refused = await (await visitor("admin")).post("/keys/new", {
      name: "two words",
      role: "viewer",
      principal: "who",
    })
    expect(refused.status).toBe(400)
    for (const words of ['id="name-error"', "two words", 'value="who"']) expect(refused.text).toContain(words)
  })

  test("are for administrators only", async () => {
    const { visitor } = await open()
    for (const role of ["operator", "viewer"] as const) {
      const person = await visitor(role)
      expect((await person.get("/keys")).status).toBe(403)
      expect((await person.get("/")).text).not.toContain('href="/keys"')
      for (const path of ["/keys/new", "/keys/x/rotate", "/keys/x/disable"]) {
        expect(`${path} ${(await person.post(path, { name: "x", role: "admin" })).status}`).toBe(`${path} 403`)
      }
    }
  })
})
