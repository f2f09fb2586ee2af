import { afterEach, expect, test } from "bun:test"
import { fakeTls } from "./notifiers/tls.fake"
import { type PinnedRequest, pinnedRequest } from "./pinned-request"

const stops: (() => Promise<void>)[] = []
afterEach(async () => {
  for (const stop of stops.splice(0)) await stop()
})

const serve = async (answer: (request: Request) => Response | Promise<Response>) => {
  const { cert, key, ca } = await fakeTls()
  const asked: string[] = []
  const server = Bun.serve({
    hostname: "127.0.0.1",
    port: 0,
    tls: { cert, key },
    idleTimeout: 0,
    fetch(request) {
      asked.push(`${request.headers.get("host")} ${request.method} ${new URL(request.url).pathname}`)
      return answer(request)
    },
  })
  stops.push(() => server.stop(true))
  return { port: server.port, ca, asked }
}

const never = new AbortController().signal
const base = { method: "GET", signal: never, rules: { allowLoopback: true } } as const satisfies Partial<PinnedRequest>

test("connects to the resolved address with the name in SNI, certificate check and Host", async () => {
  const { port, ca, asked } = await serve(async (request) => new Response(`got ${await request.text()}`))
  let lookups = 0
  const resolve = async () => {
    lookups += 1
    return ["127.0.0.1"]
  }
  const request = { ...base, method: "POST", body: "héllo", ca, resolve } as const
  const answer = await pinnedRequest({ ...request, url: `https://hooks.test:${port}/x?y=1` })
  expect([answer.status, answer.body.toString()]).toEqual([200, "got héllo"])
  expect(asked).toEqual([`hooks.test:${port} POST /x`])
  expect(lookups).toBe(1)
  await expect(pinnedRequest({ ...request, url: `https://other.test:${port}/` })).rejects.toThrow(/altnames/)
  await expect(pinnedRequest({ ...base, resolve, url: `https://hooks.test:${port}/` })).rejects.toThrow(/certificate/)
})

test("opens no connection to a refused address", async () => {
  const { port, ca, asked } = await serve(() => new Response("secret"))
  const request = { ...base, rules: {}, ca }
  const urls = [`https://127.0.0.1:${port}/`, `https://[::ffff:127.0.0.1]:${port}/`, `https://2130706433:${port}/`]
  for (const url of urls) await expect(pinnedRequest({ ...request, url })).rejects.toThrow(/loopback/)
  await expect(
    pinnedRequest({ ...request, url: `https://hooks.test:${port}/`, resolve: async () => ["127.0.0.1"] }),
  ).rejects.toThrow(/127.0.0.1 is a loopback address/)
  expect(asked).toEqual([])
})

test("checks every redirect like the first address", async () => {
  const { port, ca, asked } = await serve((request) =>
    new URL(request.url).pathname === "/inside"
      ? Response.redirect("http://169.254.169.254/latest/meta-data/", 302)
      : new URL(request.url).pathname === "/again"
        ? Response.redirect("/again", 307)
        : Response.redirect("/inside", 302),
  )
  const url = `https://127.0.0.1:${port}/`
  expect((await pinnedRequest({ ...base, ca, url })).status).toBe(302)
  await expect(pinnedRequest({ ...base, ca, url, mostRedirects: 5 })).rejects.toThrow(/169.254.169.254.*link-local/)
  await expect(pinnedRequest({ ...base, ca, url: `${url}again`, mostRedirects: 2 })).rejects.toThrow(/too often/)
  expect((await pinnedRequest({ ...base, ca, url, method: "POST", mostRedirects: 5 })).status).toBe(302)
  expect(asked.filter((line) => line.endsWith("/inside"))).toHaveLength(1)
})

test("keeps no more of the body than it is asked for", async () => {
  const { port, ca } = await serve(() => new Response("x".repeat(300_000)))
  const answer = await pinnedRequest({ ...base, ca, url: `https://127.0.0.1:${port}/`, mostBytes: 1000 })
  expect(answer.body.toString()).toBe("x".repeat(1000))
})

test("ends when its signal does, while it waits for an answer and while it resolves", async () => {
  const { port, ca, asked } = await serve(() => new Promise<Response>(() => {}))
  const url = `https://127.0.0.1:${port}/`
  const waiting = new AbortController()
  const request = pinnedRequest({ ...base, ca, url, signal: waiting.signal })
  while (asked.length === 0) await Bun.sleep(1)
  waiting.abort(new Error("enough"))
  await expect(request).rejects.toThrow()
  const resolving = new AbortController()
  const resolve = () => {
    resolving.abort(new Error("enough"))
    return new Promise<string[]>(() => {})
  }
  const lost = pinnedRequest({ ...base, ca, url: "https://hooks.test/", resolve, signal: resolving.signal })
  await expect(lost).rejects.toThrow("enough")
})
