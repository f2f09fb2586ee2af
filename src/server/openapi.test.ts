import { expect, test } from "bun:test"
import { Hono } from "hono"
import { hc } from "hono/client"
import * as v from "valibot"
import { asOps, assembleApp, bearer } from "../testing/assembled-app"
import { onEachDialect } from "../testing/on-each-dialect"
import { openApiDocument, operationsOf } from "./openapi"
import { type ApiEnv, input, operation } from "./operation"
import { listAnswer, listOf, PageQuery } from "./paging"

const Part = v.pipe(v.object({ size: v.number() }), v.metadata({ ref: "Part" }))
const Thing = v.pipe(
  v.object({ id: v.string(), parts: v.array(Part), note: v.optional(v.string()) }),
  v.metadata({ ref: "Thing" }),
)

const routes = new Hono<ApiEnv>()
  .get(
    "/things",
    operation({ id: "list_things", summary: "List things", role: "viewer", returns: listOf(Thing) }),
    input("query", PageQuery),
    (c) => c.json(listAnswer([{ id: "a", parts: [{ size: 1 }] }], 1, c.req.valid("query"))),
  )
  .post(
    "/things/:id/parts/:part",
    operation({
      id: "add_part",
      summary: "Add a part",
      role: "operator",
      returns: Thing,
      status: 201,
      errors: { 409: "There is such a part" },
    }),
    input("param", v.object({ id: v.string(), part: v.string() })),
    input(
      "json",
      v.object({
        size: v.number(),
        when: v.optional(
          v.pipe(
            v.string(),
            v.transform((text) => new Date(text)),
          ),
        ),
      }),
    ),
    (c) => c.json({ id: c.req.valid("param").id, parts: [{ size: c.req.valid("json").size }] }, 201),
  )
  .get(
    "/things/:id/pem",
    operation({ id: "get_pem", summary: "Get the PEM", role: "viewer", produces: "application/x-pem-file" }),
    (c) => c.body("-----BEGIN", 200, { "content-type": "application/x-pem-file" }),
  )
  .delete("/things/:id", operation({ id: "delete_thing", summary: "Delete", role: "admin" }), (c) => c.body(null, 204))

/** Every `$ref` anywhere in the document. */
const refsIn = (value: unknown): string[] => {
  if (Array.isArray(value)) return value.flatMap(refsIn)
  if (typeof value !== "object" || value === null) return []
  return Object.entries(value).flatMap(([key, inner]) =>
    key === "$ref" && typeof inner === "string" ? [inner] : refsIn(inner),
  )
}

const at = (document: unknown, pointer: string): unknown =>
  pointer
    .replace(/^#\//, "")
    .split("/")
    .reduce<unknown>(
      (value, key) => (typeof value === "object" && value !== null ? Reflect.get(value, key) : undefined),
      document,
    )

onEachDialect("the OpenAPI document", (openDb) => {
  test("describes every declared operation, and every reference in it leads somewhere", async () => {
    const { app } = assembleApp(await openDb(), { routes })
    const answer = await app.request("/api/v1/openapi.json", asOps)
    expect(answer.status).toBe(200)
    const document = await answer.json()
    expect(document.openapi).toBe("3.1.0")
    const operations = operationsOf(app)
    expect(new Set(operations.map(({ id }) => id)).size).toBe(operations.length)
    for (const { method, path, id, role } of operations) {
      const entry = document.paths[path]?.[method.toLowerCase()]
      expect(entry).toMatchObject({ operationId: id, "x-role": role })
      expect(entry.tags).toHaveLength(1)
      const declared = (entry.parameters ?? [])
        .filter((p: { in: string }) => p.in === "path")
        .map((p: { name: string }) => p.name)
      expect(declared.sort()).toEqual([...path.matchAll(/\{([^}]+)\}/g)].map(([, name]) => name ?? "").sort())
      for (const response of Object.values<{ description: string }>(entry.responses)) {
        expect(response.description).toBeString()
      }
    }
    expect(refsIn(document).length).toBeGreaterThan(10)
    for (const ref of refsIn(document)) expect(at(document, ref)).toBeDefined()
  })

  test("names components, documents what is sent and what is answered", async () => {
    const { app } = assembleApp(await openDb(), { routes })
    const document = await openApiDocument(app, { version: "1", url: "https://certctl.example" })
    expect(document.components.schemas).toMatchObject({
      Thing: { type: "object", required: ["id", "parts"] },
      Part: { type: "object" },
      Error: { type: "object" },
    })
    const list = document.paths["/api/v1/things"]?.get
    // A bad page number is no error.
    const anyText = { type: "string" as const, description: "Anything else counts as absent" }
    expect(list?.parameters).toEqual([
      { in: "query", name: "page", schema: { anyOf: [{ type: "integer" as const, minimum: 1 }, anyText], default: 1 } },
      {
        in: "query",
        name: "per_page",
        schema: { anyOf: [{ type: "integer" as const, minimum: 1, maximum: 500 }, anyText], default: 50 },
      },
    ])
    const add = document.paths["/api/v1/things/{id}/parts/{part}"]?.post
    expect(add?.requestBody).toMatchObject({
      required: true,
      content: { "application/json": { schema: { required: ["size"], properties: { when: { type: "string" } } } } },
    })
    expect(Object.keys(add?.responses ?? {})).toEqual(["201", "400", "401", "403", "404", "409", "413", "429"])
    expect(Object.keys(list?.responses ?? {})).toEqual(["200", "401", "403", "429"])
    expect(add?.responses?.["201"]).toMatchObject({
      content: { "application/json": { schema: { $ref: "#/components/schemas/Thing" } } },
    })
    expect(document.paths["/api/v1/things/{id}"]?.delete?.responses?.["204"]).toEqual({
      description: "Success",
      headers: { "X-Request-ID": { $ref: "#/components/headers/RequestId" } },
    })
    expect(document.paths["/api/v1/auth/info"]?.get).toMatchObject({ security: [] })
  })

  test("the same routes type a client", async () => {
    const { app } = assembleApp(await openDb(), { routes })
    const client = hc<typeof routes>("https://certctl.example/api/v1", {
      fetch: (url: RequestInfo | URL, init?: RequestInit) => app.request(String(url), init),
      headers: bearer("ops-key"),
    })
    const list = await (await client.things.$get({ query: { page: "1" } })).json()
    const first: { id: string; parts: { size: number }[] } | undefined = list.data[0]
    expect(first).toEqual({ id: "a", parts: [{ size: 1 }] })
    const added = await client.things[":id"].parts[":part"].$post({ param: { id: "x", part: "y" }, json: { size: 3 } })
    expect(await added.json()).toEqual({ id: "x", parts: [{ size: 3 }] })
  })
})
