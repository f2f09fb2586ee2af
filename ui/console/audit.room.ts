/** The audit trail: the page, and the whole of it as a file. */
import { Hono } from "hono"
import { auditEventAnswer } from "../../src/audit/audit.schema"
import type { AuditService } from "../../src/audit/audit.service"
import type { ApiEnv } from "../../src/server/operation"
import { auditPage } from "../pages/audit.page"
import { type ConsoleDeps, dayOf, frameOf, listOf, type PageContext, page } from "./room"
import { auditRows } from "./rows"

type AuditFilter = Parameters<AuditService["list"]>[0]
type AuditEvent = Awaited<ReturnType<AuditService["list"]>>["rows"][number]

const hourMs = 3_600_000
const ranges: Readonly<Record<string, number>> = {
  "1h": hourMs,
  "24h": 24 * hourMs,
  "7d": 168 * hourMs,
  "30d": 720 * hourMs,
}

const filterOf = (params: Readonly<Record<string, string>>, now: Date): AuditFilter => {
  const range = ranges[params.range ?? ""]
  const until = dayOf(params.to)
  return {
    actor: params.actor,
    action: params.action,
    resourceType: params.resource_type,
    resourceId: params.resource_id,
    from: dayOf(params.from) ?? (range === undefined ? undefined : new Date(now.getTime() - range)),
    // The named day is included.
    to: until === undefined ? undefined : new Date(until.getTime() + 24 * hourMs - 1),
    withoutApiCalls: params.hide_api === "true",
  }
}

const columns: readonly (readonly [head: string, cell: (event: AuditEvent) => string])[] = [
  ["ID", (event) => event.id],
  ["Action", (event) => event.action],
  ["Actor", (event) => event.actor],
  ["Actor Type", (event) => event.actorType],
  ["Resource Type", (event) => event.resourceType],
  ["Resource ID", (event) => event.resourceId],
  ["Details", (event) => JSON.stringify(event.details)],
  ["Timestamp", (event) => event.timestamp.toISOString()],
]

/**
 * One cell of a CSV file (RFC 4180). Spreadsheets run what begins with = + - @, also behind a tab or a line break, and actors
 * and paths come from outside: an apostrophe in front makes it text.
 */
export const csvCell = (text: string): string =>
  `"${(/^[=+\-@\t\r\n]/.test(text) ? `'${text}` : text).replaceAll('"', '""')}"`

const csvLine = (cells: readonly string[]): string => `${cells.map(csvCell).join(",")}\r\n`

async function* csv(batches: AsyncIterable<readonly AuditEvent[]>) {
  yield csvLine(columns.map(([head]) => head))
  for await (const events of batches) {
    yield events.map((event) => csvLine(columns.map(([, cell]) => cell(event)))).join("")
  }
}

async function* json(batches: AsyncIterable<readonly AuditEvent[]>) {
  let isFirst = true
  yield "["
  for await (const events of batches) {
    yield `${isFirst ? "\n" : ",\n"}${events.map((event) => JSON.stringify(auditEventAnswer(event))).join(",\n")}`
    isFirst = false
  }
  yield "\n]\n"
}

const formats = {
  csv: { type: "text/csv; charset=utf-8", write: csv },
  json: { type: "application/json", write: json },
} as const

export const auditRoom = (deps: ConsoleDeps) => {
  const { audit, clock, inventory } = deps

  const exported = (c: PageContext, format: keyof typeof formats) => {
    const now = clock.now()
    const filter = filterOf(listOf(c).state.params, now)
    const { type, write } = formats[format]
    const texts = write(audit.batches({ ...filter, to: filter.to ?? now }))
    c.env.keepOpen?.()
    const encoder = new TextEncoder()
    const body = new ReadableStream<Uint8Array>({
      async pull(controller) {
        const { done, value } = await texts.next()
        if (done === true) controller.close()
        else controller.enqueue(encoder.encode(value))
      },
      cancel: async () => void (await texts.return(undefined)),
    })
    return c.body(body, 200, {
      "content-type": type,
      "cache-control": "no-store",
      "content-disposition": `attachment; filename="audit-trail-${now.toISOString().slice(0, 10)}.${format}"`,
    })
  }

  return new Hono<ApiEnv>()
    .get("/audit", async (c) => {
      const frame = await frameOf(deps, c)
      const { state, page: number, pageSize } = listOf(c)
      const { rows, total } = await audit.list(filterOf(state.params, frame.now), { page: number, per_page: pageSize })
      return page(
        c,
        auditPage({ frame, state, paging: { page: number, pageSize, total }, rows: await auditRows(inventory, rows) }),
      )
    })
    .get("/audit/export.csv", (c) => exported(c, "csv"))
    .get("/audit/export.json", (c) => exported(c, "json"))
}
