/**
 * Live events for browsers (server-sent events): sealed audit events without the log of API calls. Each has its number as `id`, so a
 * client that reconnects misses nothing and sees nothing twice.
 */
import { type Context, Hono } from "hono"
import * as v from "valibot"
import { documentedAs } from "../server/json-schema"
import { type ApiEnv, input, operation } from "../server/operation"
import { auditEventAnswer } from "./audit.schema"
import type { EventFeed } from "./event-feed"
import type { SealedEvent } from "./leaf.store"

interface Options {
  readonly feed: EventFeed
  /** Silence after which a comment is sent, so that proxies and browsers keep the connection. */
  readonly heartbeatMs?: number
}

const StreamQuery = v.object({
  after: v.optional(
    v.pipe(
      v.string(),
      v.regex(/^\d{1,15}$/, "must be the number of an event"),
      documentedAs({ type: "integer", minimum: 0, description: "Begin after this event instead of now" }),
      v.transform(Number),
    ),
  ),
})

const reconnectMs = 3000

/** Where a client left off: browsers send the header by themselves when they reconnect. */
const resumePoint = (c: Context<ApiEnv>, after: number | undefined): number | undefined => {
  const header = c.req.header("last-event-id") ?? ""
  return /^\d{1,15}$/.test(header) ? Number(header) : after
}

const frame = ({ seq, event }: SealedEvent): string =>
  `id: ${seq}\ndata: ${JSON.stringify({ seq, ...auditEventAnswer(event) })}\n\n`

const headers = {
  "content-type": "text/event-stream; charset=utf-8",
  "cache-control": "no-store",
  // nginx would collect events before passing them on.
  "x-accel-buffering": "no",
}

/** Mount under `/events`. */
export const eventStreamRoutes = ({ feed, heartbeatMs = 15_000 }: Options) =>
  new Hono<ApiEnv>().get(
    "/",
    operation({
      id: "stream_events",
      summary: "Stream events as they happen (server-sent events)",
      role: "viewer",
      produces: "text/event-stream",
    }),
    input("query", StreamQuery),
    async (c) => {
      if (c.req.method === "HEAD") return new Response(null, { headers })
      c.env?.keepOpen?.()
      const { head, stop } = await feed.watch()
      const resume = resumePoint(c, c.req.valid("query").after) ?? head
      // A number that was never given out (another database?) would wait for ever.
      let position = Math.min(resume, head)
      const ended = new AbortController()
      const signal = AbortSignal.any([
        ended.signal,
        feed.closed,
        c.req.raw.signal,
        ...(c.env?.draining === undefined ? [] : [c.env.draining]),
      ])
      const isStillAllowed = c.get("isStillAllowed") ?? (async () => true)

      /** The next piece of the stream; null at its end. */
      const next = async (): Promise<string | null> => {
        for (;;) {
          if (signal.aborted) return null
          const rows = await feed.after(position)
          position = rows.at(-1)?.seq ?? position
          const shown = rows.filter(({ event }) => !event.action.startsWith("api_"))
          if (shown.length > 0) return shown.map(frame).join("")
          if (rows.length > 0) continue
          const outcome = await feed.wait(position, signal, heartbeatMs)
          if (outcome === "aborted") return null
          // The id alone tells a client how far it has come past events that it is not shown.
          if (outcome === "timeout") return (await isStillAllowed()) ? `id: ${position}\n: still here\n\n` : null
        }
      }

      const encoder = new TextEncoder()
      const body = new ReadableStream<Uint8Array>({
        start: (controller) => controller.enqueue(encoder.encode(`retry: ${reconnectMs}\n\n`)),
        async pull(controller) {
          try {
            const text = await next()
            if (text !== null) return controller.enqueue(encoder.encode(text))
            stop()
            controller.close()
          } catch (error) {
            stop()
            controller.error(error)
          }
        },
        cancel() {
          ended.abort()
          stop()
        },
      })
      return new Response(body, { headers })
    },
  )
