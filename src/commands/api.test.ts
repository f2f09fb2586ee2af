/** What the client makes of answers that a certctl server gives rarely, or never. */
import { afterAll, beforeAll, beforeEach, expect, test } from "bun:test"
import type { AppError } from "../errors"
import { apiClient } from "./api"

let server: ReturnType<typeof Bun.serve>
let answers: Response[] = []
let paths: string[] = []

beforeAll(() => {
  server = Bun.serve({
    hostname: "127.0.0.1",
    port: 0,
    fetch(request) {
      paths.push(`${request.method} ${new URL(request.url).pathname}${new URL(request.url).search}`)
      return answers.shift() ?? new Response("unexpected", { status: 500 })
    },
  })
})
beforeEach(() => {
  answers = []
  paths = []
})
afterAll(() => server.stop(true))

const api = (isAssumed = false) =>
  apiClient({ server: `http://127.0.0.1:${server.port}/base`, apiKey: null, trust: { kind: "system" }, isAssumed }).api

const failureOf = async (call: Promise<unknown>): Promise<AppError> => {
  const error = await call.catch((reason: AppError) => reason)
  expect(error).toBeInstanceOf(Error)
  return error as AppError
}

test("a call refused for coming too early is made again when the server says so", async () => {
  const early = () => new Response("{}", { status: 429, headers: { "retry-after": "0" } })
  answers = [early(), early(), Response.json({ data: [], total: 0, page: 2, per_page: 50 })]
  const page = await (await api().teams.$get({ query: { page: "2", per_page: undefined } })).json()
  expect(page.total).toBe(0)
  expect(paths).toEqual(Array(3).fill("GET /base/api/v1/teams?page=2"))

  // An hour is longer than anybody waits for a command.
  answers = [new Response("{}", { status: 429, headers: { "retry-after": "3600" } })]
  expect((await failureOf(api().teams.$get({ query: {} }))).code).toBe("rate_limited")
})

test("a page of somebody else's is no answer", async () => {
  answers = [new Response("<html>Sign in to the network</html>")]
  const error = await failureOf(api().jobs.$get({ query: {} }))
  expect(error.message).toContain("is this a certctl server?")
  expect(error.message).not.toContain("<html>")
})

test("a refusal has the server's words and what helps", async () => {
  answers = [Response.json({ error: "Missing Authorization header" }, { status: 401 })]
  expect((await failureOf(api().jobs.$get({ query: {} }))).message).toBe(
    "Missing Authorization header (give a key with CERTCTL_API_KEY or --api-key file:PATH)",
  )
  answers = [Response.json({ error: "Bad Request", message: "name is required" }, { status: 400 })]
  const error = await failureOf(api().teams.$post({ json: { name: "" } }))
  expect(error).toMatchObject({ code: "validation", message: "name is required" })
})
