/** Free-text search in the compiled executable, where SQLite runs it in a thread that starts from an embedded file. */
import { afterEach, expect, setDefaultTimeout, test } from "bun:test"
import { certificateFields, createOwnership } from "../testing/inventory"
import { serverProcess } from "../testing/server-process"
import { openStage } from "../testing/stage"

setDefaultTimeout(120_000)

const stage = openStage()
afterEach(stage.end)

test("finds what contains the text, while other requests are answered, and the server stops as usual afterwards", async () => {
  const server = await serverProcess(stage)
  await server.start()
  const ownership = await createOwnership(server)
  for (const name of ["www.example.com", "mail.example.com", "www.example.org"]) {
    await server.post("/api/v1/certificates", certificateFields(ownership, name))
  }
  const search = async (text: string): Promise<string[]> => {
    const { data, total } = await server.get(`/api/v1/certificates?q=${text}&sort=name`)
    expect(total).toBe(data.length)
    return data.map((certificate: { name: string }) => certificate.name)
  }
  const [found, upper, nothing, all] = await Promise.all([
    search("www"),
    search("EXAMPLE.COM"),
    search("nobody"),
    server.get("/api/v1/certificates"),
  ])
  expect(found).toEqual(["www.example.com", "www.example.org"])
  expect(upper).toEqual(["mail.example.com", "www.example.com"])
  expect(nothing).toEqual([])
  expect(all.total).toBe(3)
  expect(await server.stop()).toBe(0)
})
