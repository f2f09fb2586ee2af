/** What a sealed audit event hashes to: the leaf of a Merkle log (RFC 9162 section 2.1.1) over its canonical JSON (RFC 8785). */
import { hash } from "node:crypto"
import type { AuditEvent } from "./audit.store"

/** JSON with sorted keys and no blanks; RFC 8785 takes numbers and strings exactly as JSON.stringify writes them. */
export const canonicalJson = (value: unknown): string => {
  if (Array.isArray(value)) return `[${value.map((entry) => canonicalJson(entry ?? null)).join(",")}]`
  if (typeof value !== "object" || value === null) return JSON.stringify(value) ?? "null"
  const members = Object.entries(value)
    .filter(([, member]) => member !== undefined)
    // By UTF-16 code units, which is what comparing strings does.
    .sort(([a], [b]) => (a < b ? -1 : 1))
  return `{${members.map(([key, member]) => `${JSON.stringify(key)}:${canonicalJson(member)}`).join(",")}}`
}

/** SHA-256 of a zero byte and the canonical JSON of all columns, lower-case hex. `event` must be as read from the database. */
export const leafHash = (event: AuditEvent): string =>
  hash(
    "sha256",
    `\0${canonicalJson({
      id: event.id,
      actor: event.actor,
      actor_type: event.actorType,
      action: event.action,
      resource_type: event.resourceType,
      resource_id: event.resourceId,
      details: event.details,
      timestamp: event.timestamp.toISOString(),
    })}`,
    "hex",
  )
