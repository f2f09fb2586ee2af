/** A PostgreSQL that crashes and comes back while clients write. */
import { afterEach, describe, expect, setDefaultTimeout, test } from "bun:test"
import postgres from "postgres"
import { certificateFields, createOwnership } from "../testing/inventory"
import { startTestPostgres } from "../testing/postgres"
import { encryptionKey, serverProcess } from "../testing/server-process"
import { openStage, type Stage } from "../testing/stage"
import { until } from "../testing/until"

// Real processes and sockets: slow machines are slow, not wrong.
setDefaultTimeout(120_000)

const writers = 8

let stage: Stage
afterEach(() => stage.end())

describe("a database that restarts under load", () => {
  test("costs the requests of that moment, and leaves nothing half done and nobody waiting", async () => {
    stage = openStage()
    const database = await startTestPostgres()
    stage.onEnd(() => database.stop())
    const server = await serverProcess(stage, {
      env: { CERTCTL_DATABASE_URL: database.url, CERTCTL_CONFIG_ENCRYPTION_KEY: encryptionKey },
    })
    await server.start()
    const fields = { ...certificateFields(await createOwnership(server), "one"), sans: [] }

    let isOver = false
    let count = 0
    let restarts = 0
    /** The newest certificate that was acknowledged, and how many in all. */
    const created = new Map<string, string>()
    const failures = new Map<string, number>()
    /** Acknowledged since the last restart. */
    let fresh = 0
    const write = async () => {
      while (!isOver) {
        const name = `certificate-${count++}.example`
        const before = restarts
        const answer = await server
          .call("POST", "/api/v1/certificates", { ...fields, name, common_name: name })
          .catch((error: unknown) => ({ status: 0, text: String(error), body: null }))
        if (answer.status === 201) {
          created.set(answer.body.id, name)
          if (restarts === before) fresh++
        } else {
          const words = `${answer.status} ${answer.body?.error ?? answer.text}`
          failures.set(words, (failures.get(words) ?? 0) + 1)
        }
      }
    }
    const load = Promise.all(Array.from({ length: writers }, write))
    const recoveries: number[] = []
    for (; restarts < 3; ) {
      fresh = 0
      await until("certificates are made", () => fresh >= 2 * writers)
      await database.restart()
      restarts++
      fresh = 0
      const back = performance.now()
      await until("a certificate is made again", () => fresh > 0)
      recoveries.push(Math.round(performance.now() - back))
    }
    isOver = true
    // Each ends, with an answer or a closed connection: none is left to its time limit.
    await load
    console.log(
      `three restarts, ${created.size} of ${count} requests acknowledged, ${[...failures].map(([what, times]) => `${times} × ${what}`).join(", ")}; first one after ${recoveries.join(", ")} ms`,
    )
    expect([...failures.keys()].filter((what) => !/^(500|503) /.test(what))).toEqual([])
    expect((await server.call("GET", "/ready", undefined, { key: null })).status).toBe(200)

    const sql = postgres(database.url, { max: 1, onnotice: () => undefined })
    try {
      const rows = await sql`select id from managed_certificates order by id`
      const events =
        await sql`select resource_id from audit_events where action = 'certificate_created' order by resource_id`
      const ids = rows.map(({ id }) => id)
      // A certificate and its event came together or not at all; what was acknowledged is there.
      expect(events.map(({ resource_id }) => resource_id)).toEqual(ids)
      expect([...created.keys()].filter((id) => !ids.includes(id))).toEqual([])
    } finally {
      await sql.end()
    }
    expect(await server.stop()).toBe(0)
  })
})
