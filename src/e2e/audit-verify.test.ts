/** `certctl audit verify` on the database of a running server, and on one that somebody has tampered with. */

import { Database } from "bun:sqlite"
import { expect, test } from "bun:test"
import postgres from "postgres"
import { onEachDatabase } from "../testing/on-each-database"
import { serverProcess } from "../testing/server-process"
import { executable } from "../testing/stage"
import { until } from "../testing/until"

const tampering = {
  sqlite: [
    "drop trigger audit_events_no_update",
    "update audit_events set actor = 'nobody' where id = (select event_id from audit_leaves where seq = 2)",
  ],
  postgres: [
    "alter table audit_events disable trigger user",
    "update audit_events set actor = 'nobody' where id = (select event_id from audit_leaves where seq = 2)",
  ],
}

onEachDatabase("certctl audit verify", (open) => {
  test("proves the trail beside the server, and tells the first event that is not what was written", async () => {
    const { stage, env } = await open()
    const server = await serverProcess(stage, { env })
    await server.start()
    await server.post("/api/v1/teams", { name: "web" })
    await server.post("/api/v1/teams", { name: "mail" })
    let runs = 0
    const verify = async (...more: string[]) => {
      const program = stage.run([executable, "audit", "verify", ...more], { env: server.env, name: `verify-${++runs}` })
      return { code: await program.exited, out: program.stdout(), err: program.stderr() }
    }
    const sizeOf = (out: string) => Number(/Events:\s+(\d+)/.exec(out)?.[1])
    await until("the events are sealed", async () => sizeOf((await verify()).out) >= 2, 30_000, 500)
    const first = await verify()
    expect(first).toMatchObject({ code: 0 })
    const root = /Root hash:\s+([0-9a-f]{64})/.exec(first.out)?.[1] ?? ""
    expect(await verify("--size", String(sizeOf(first.out)), "--root", root)).toMatchObject({ code: 0 })
    expect(await verify("--size", "1", "--root", root)).toMatchObject({
      code: 1,
      err: expect.stringContaining("not those whose root hash was noted"),
    })
    expect(await verify("--size", "1")).toMatchObject({ code: 2 })

    await server.stop()
    const url = env.CERTCTL_DATABASE_URL
    if (url === undefined) {
      const file = new Database(`${server.dataDir}/certctl.db`)
      for (const statement of tampering.sqlite) file.run(statement)
      file.close()
    } else {
      const sql = postgres(url, { max: 1 })
      for (const statement of tampering.postgres) await sql.unsafe(statement)
      await sql.end()
    }
    const last = await verify()
    expect(last.code).toBe(1)
    expect(last.err).toMatch(/tampered with or damaged: number 2: event audit-\w+ .* is not what was sealed/)
  }, 120_000)
})
