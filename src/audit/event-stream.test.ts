import { afterEach, expect, test } from "bun:test"
import { systemActor } from "../access/actor"
import { secretHash } from "../access/secrets"
import { type Assembly, assembleApp, bearer, tester } from "../testing/assembled-app"
import { onEachDialect } from "../testing/on-each-dialect"

interface Message {
  id: string
  data: { seq: number; resource_id: string; action: string } | null
}

/** Reads a stream message by message, as a browser would. */
const reader = (answer: Response) => {
  const chunks = answer.body?.pipeThrough(new TextDecoderStream()).getReader()
  let text = ""
  const next = async (): Promise<Message | null> => {
    for (;;) {
      const end = text.indexOf("\n\n")
      if (end >= 0) {
        const block = text.slice(0, end)
        text = text.slice(end + 2)
        const id = /^id: (.*)$/m.exec(block)?.[1]
        const data = /^data: (.*)$/m.exec(block)?.[1]
        if (id === undefined) continue
        return { id, data: data === undefined ? null : JSON.parse(data) }
      }
      const { done = true, value } = (await chunks?.read()) ?? {}
      if (done) return null
      text += value
    }
  }
  return {
    next,
    /** The next message that carries an event. */
    async event(): Promise<Message | null> {
      for (;;) {
        const message = await next()
        if (message === null || message.data !== null) return message
      }
    },
    cancel: () => chunks?.cancel(),
  }
}

const closing: (() => void | Promise<void>)[] = []

onEachDialect("the event stream", (openDb) => {
  afterEach(async () => {
    for (const close of closing.splice(0)) await close()
  })

  const open = async (options: Assembly = {}) => {
    const db = await openDb()
    const assembly = assembleApp(db, options)
    closing.push(() => assembly.feed.close())
    const happen = async (...resourceIds: string[]) => {
      for (const resourceId of resourceIds) {
        await db.transaction((tx) =>
          assembly.audit.append(tx, {
            action: "certificate_created",
            actor: systemActor,
            resourceType: "certificate",
            resourceId,
          }),
        )
      }
      await assembly.sealing.seal()
    }
    return { db, happen, ...assembly }
  }
  const idsOf = async (stream: ReturnType<typeof reader>, count: number) => {
    const ids: (string | undefined)[] = []
    for (let n = 0; n < count; n += 1) ids.push((await stream.event())?.data?.resource_id)
    return ids
  }

  test("tells what happens from now on, without API calls, numbered", async () => {
    const { app, happen, apiCalls } = await open()
    await happen("mc-old")
    const answer = await app.request("/api/v1/events", { headers: bearer("ops-key") })
    expect(answer.headers.get("content-type")).toStartWith("text/event-stream")
    const stream = reader(answer)
    await app.request("/api/v1/auth/check", { headers: bearer("ops-key") })
    await apiCalls.settled()
    await happen("mc-1")
    const message = await stream.event()
    expect(message?.id).toBe("3")
    expect(message?.data).toMatchObject({ seq: 3, action: "certificate_created", resource_id: "mc-1" })
    await happen("mc-2", "mc-3")
    expect(await idsOf(stream, 2)).toEqual(["mc-2", "mc-3"])
    await stream.cancel()
  })

  test("resumes where a client left off, by header or by query, missing and repeating nothing", async () => {
    const { app, happen } = await open()
    await happen("mc-1", "mc-2", "mc-3")
    const from = async (query: string, headers: Record<string, string> = {}) =>
      reader(await app.request(`/api/v1/events${query}`, { headers: { ...bearer("ops-key"), ...headers } }))
    const byHeader = await from("", { "last-event-id": "1" })
    const byQuery = await from("?after=2")
    const headerWins = await from("?after=0", { "last-event-id": "2" })
    const fromFuture = await from("?after=999999")
    const all = await from("?after=0")
    await happen("mc-4")
    expect(await idsOf(byHeader, 3)).toEqual(["mc-2", "mc-3", "mc-4"])
    expect(await idsOf(byQuery, 2)).toEqual(["mc-3", "mc-4"])
    expect(await idsOf(headerWins, 2)).toEqual(["mc-3", "mc-4"])
    expect(await idsOf(fromFuture, 1)).toEqual(["mc-4"])
    expect(await idsOf(all, 4)).toEqual(["mc-1", "mc-2", "mc-3", "mc-4"])
    for (const stream of [byHeader, byQuery, headerWins, fromFuture, all]) await stream.cancel()
    const bad = await app.request("/api/v1/events?after=x", { headers: bearer("ops-key") })
    expect((await bad.json()).message).toBe("after must be the number of an event")
  })

  test("a client far behind catches up over many pages", async () => {
    const { app, db, happen, audit, sealing } = await open()
    await db.transaction((tx) =>
      audit.append(
        tx,
        ...Array.from({ length: 1300 }, (_, n) => ({
          action: "certificate_created",
          actor: systemActor,
          resourceType: "certificate",
          resourceId: `mc-${n}`,
        })),
      ),
    )
    await sealing.seal()
    const stream = reader(await app.request("/api/v1/events?after=0", { headers: bearer("ops-key") }))
    const seen = await idsOf(stream, 1300)
    expect(new Set(seen).size).toBe(1300)
    await happen("mc-last")
    expect(await idsOf(stream, 1)).toEqual(["mc-last"])
    await stream.cancel()
  })

  test("in silence it sends heartbeats that carry the position", async () => {
    const { app, happen } = await open({ heartbeatMs: 5 })
    await happen("mc-1")
    const stream = reader(await app.request("/api/v1/events", { headers: bearer("ops-key") }))
    expect(await stream.next()).toEqual({ id: "1", data: null })
    await stream.cancel()
  })

  test("ends when the key behind it is disabled", async () => {
    const { app, keys } = await open({ heartbeatMs: 5 })
    const { row, key } = await keys.create({ name: "eyes", role: "viewer" }, tester)
    const stream = reader(await app.request("/api/v1/events", { headers: bearer(key) }))
    await stream.next()
    await keys.disable(row.id, tester)
    let message = await stream.next()
    while (message !== null) message = await stream.next()
    expect(message).toBeNull()
  })

  test("ends when the server stops or the listener drains", async () => {
    const { app, feed } = await open()
    const draining = new AbortController()
    const headers = bearer("ops-key")
    const drained = reader(await app.request("/api/v1/events", { headers }, { draining: draining.signal }))
    const stopped = reader(await app.request("/api/v1/events", { headers }))
    draining.abort()
    expect(await drained.next()).toBeNull()
    feed.close()
    expect(await stopped.next()).toBeNull()
  })

  test("is for people, not for agents, and HEAD opens nothing", async () => {
    const { app } = await open({ agents: { [secretHash("agent-key")]: "agent-1" } })
    expect((await app.request("/api/v1/events", { headers: bearer("agent-key") })).status).toBe(403)
    expect((await app.request("/api/v1/events")).status).toBe(401)
    const head = await app.request("/api/v1/events", { method: "HEAD", headers: bearer("ops-key") })
    expect([head.status, await head.text()]).toEqual([200, ""])
  })

  test("works over a socket, and a client that goes away is forgotten", async () => {
    const { app, happen } = await open({ heartbeatMs: 5 })
    let kept = 0
    const ended = Promise.withResolvers<void>()
    const server = Bun.serve({
      hostname: "127.0.0.1",
      port: 0,
      fetch(request, server) {
        request.signal.addEventListener("abort", () => ended.resolve())
        return app.fetch(request, {
          keepOpen: () => {
            kept += 1
            server.timeout(request, 0)
          },
        })
      },
    })
    closing.push(() => server.stop(true))
    const client = new AbortController()
    const answer = await fetch(new URL("/api/v1/events", server.url), {
      headers: bearer("ops-key"),
      signal: client.signal,
    })
    const stream = reader(answer)
    await happen("mc-1")
    expect(await idsOf(stream, 1)).toEqual(["mc-1"])
    expect(kept).toBe(1)
    client.abort()
    await ended.promise
  })
})
