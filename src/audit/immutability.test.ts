/** Every way that SQL has of changing or removing rows of the audit trail, tried with the rights of the server itself. */
import { expect, test } from "bun:test"
import { tester } from "../testing/assembled-app"
import { onEachDialect } from "../testing/on-each-dialect"
import { serviceParts } from "../testing/resource-api"
import { leafStore } from "./leaf.store"
import { sealingService } from "./sealing.service"

const values = "'evil', 'User', 'nothing_happened', 'certificate', 'mc-1', '{}'"
const columns = "actor, actor_type, action, resource_type, resource_id, details"

const everywhere = [
  "update audit_events set actor = 'evil'",
  "update audit_events set actor = actor",
  "delete from audit_events",
  "delete from audit_events where id = (select max(id) from audit_events)",
  "update audit_leaves set leaf_hash = '00'",
  "update audit_leaves set seq = seq + 100",
  "delete from audit_leaves where seq = 1",
  `insert into audit_events (id, ${columns}, timestamp) select id, ${values}, timestamp from audit_events where true
   on conflict (id) do update set actor = 'evil'`,
  "insert into audit_leaves (seq, event_id, leaf_hash) select seq, event_id, '00' from audit_leaves where true on conflict (seq) do update set leaf_hash = '00'",
]

const onSqlite = [
  // Without recursive_triggers these remove the row in their way and fire no DELETE trigger.
  `insert or replace into audit_events (id, ${columns}, timestamp) select id, ${values}, timestamp from audit_events`,
  `replace into audit_events (id, ${columns}, timestamp) select id, ${values}, timestamp from audit_events limit 1`,
  `replace into audit_events (rowid, id, ${columns}, timestamp) select rowid, 'audit-new', ${values}, timestamp from audit_events`,
  "replace into audit_leaves (seq, event_id, leaf_hash) select seq, event_id, '00' from audit_leaves",
  "replace into audit_leaves (seq, event_id, leaf_hash) select seq + 100, event_id, '00' from audit_leaves",
  "update or replace audit_events set id = (select min(id) from audit_events)",
  "update or replace audit_leaves set seq = 1",
  "update or ignore audit_events set actor = 'evil'",
  // The connection does not let anybody rewrite the schema as text.
  "pragma writable_schema = on; delete from sqlite_schema where type = 'trigger'",
  "pragma writable_schema = on; update sqlite_schema set sql = null where name = 'audit_events_no_update'",
]

const onPostgres = [
  "truncate audit_events",
  "truncate audit_leaves",
  "truncate audit_events cascade",
  "truncate audit_events, audit_leaves restart identity",
  "merge into audit_events a using audit_events b on a.id = b.id when matched then update set actor = 'evil'",
  "merge into audit_leaves a using audit_leaves b on a.seq = b.seq when matched then delete",
  "with gone as (delete from audit_events returning id) select * from gone",
]

onEachDialect("what the audit trail has recorded", (openDb, dialect) => {
  for (const recursive of dialect === "sqlite" ? ["off", "on"] : [""]) {
    test(`is changed by no statement ${recursive && `with recursive_triggers ${recursive}`}`.trim(), async () => {
      const db = await openDb()
      const { audit, clock } = serviceParts(db)
      for (const resourceId of ["mc-1", "mc-2", "mc-3"]) {
        const event = { action: "certificate_created", actor: tester, resourceType: "certificate", resourceId }
        await db.transaction((tx) => audit.append(tx, event))
      }
      await sealingService({ db, leaves: leafStore(db), clock }).seal()
      const trail = async () =>
        JSON.stringify([await db.read.select().from(db.t.auditEvents), await db.read.select().from(db.t.auditLeaves)])
      const before = await trail()
      const setUp = recursive === "" ? "" : `pragma recursive_triggers = ${recursive}; `
      for (const statement of [...everywhere, ...(dialect === "sqlite" ? onSqlite : onPostgres)]) {
        const refusal = await db
          .changeSchema((connection) => connection.run(setUp + statement))
          .then(
            () => "it was done",
            (error: unknown) => String(error),
          )
        expect([statement, refusal]).toEqual([
          statement,
          expect.stringMatching(
            /append-only|may not be modified|UNIQUE|violates foreign key|referenced in a foreign key/,
          ),
        ])
        expect([statement, await trail()]).toEqual([statement, before])
      }
    })
  }
})
