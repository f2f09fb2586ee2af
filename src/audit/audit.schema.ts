/** Audit events on the wire. */
import * as v from "valibot"
import { listParams } from "../server/paging"
import { readTime, requiredTime, WireTime } from "../server/wire"
import type { AuditEvent, AuditFilter } from "./audit.store"

export const AuditEventAnswer = v.pipe(
  v.object({
    id: v.string(),
    actor: v.string(),
    actor_type: v.picklist(["User", "System", "Agent"]),
    action: v.string(),
    resource_type: v.string(),
    resource_id: v.string(),
    details: v.record(v.string(), v.unknown()),
    timestamp: WireTime,
  }),
  v.metadata({ ref: "AuditEvent" }),
)

const text = v.optional(v.string())

export const AuditQuery = v.object({
  actor: text,
  actor_type: text,
  action: text,
  resource_type: text,
  resource_id: text,
  from: text,
  to: text,
  created_after: text,
  created_before: text,
  ...listParams(["id", "actor", "action", "resource_type", "resource_id"]),
})

export const auditFilterOf = (query: v.InferOutput<typeof AuditQuery>): AuditFilter => {
  const from = readTime(query.from ?? query.created_after ?? "")
  const to = readTime(query.to ?? query.created_before ?? "")
  return {
    actor: query.actor,
    actorType: query.actor_type,
    action: query.action,
    resourceType: query.resource_type,
    resourceId: query.resource_id,
    search: query.q,
    ...(from === null ? {} : { from }),
    ...(to === null ? {} : { to }),
  }
}

export const auditEventAnswer = (event: AuditEvent): v.InferOutput<typeof AuditEventAnswer> => ({
  id: event.id,
  actor: event.actor,
  actor_type: event.actorType,
  action: event.action,
  resource_type: event.resourceType,
  resource_id: event.resourceId,
  details: event.details,
  timestamp: requiredTime(event.timestamp),
})
