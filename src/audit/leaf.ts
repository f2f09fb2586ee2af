/** What a sealed audit event hashes to: the leaf of a Merkle log (RFC 9162 section 2.1.1) over its canonical JSON (RFC 8785). */
import { hash } from "node:crypto"
import type { AuditEvent } from "./audit.store"

/** Begins with a letter: no number, which objects keep before all other keys, and not `__proto__`. */
const isOrdinaryKey = (key: string): boolean => key.charCodeAt(0) >= 65 && key !== "__proto__"

/** The same with sorted keys, which JSON.stringify then writes at once; undefined where an object could not keep them in that order. */
const sorted = (value: unknown): unknown => {
  if (typeof value !== "object" || value === null) return value
  if (Array.isArray(value)) {
    const entries = value.map((entry) => sorted(entry ?? null))
    return entries.includes(undefined) ? undefined : entries
  }
  const copy: Record<string, unknown> = {}
  // By UTF-16 code units, which is what comparing strings does.
  for (const key of Object.keys(value).sort()) {
    const member: unknown = Reflect.get(value, key)
    if (member === undefined) continue
    const inner = sorted(member)
    if (inner === undefined || !isOrdinaryKey(key)) return undefined
    copy[key] = inner
  }
  return copy
}

const writeSorted = (value: unknown): string => {
  if (Array.isArray(value)) return `[${value.map((entry) => writeSorted(entry ?? null)).join(",")}]`
  if (typeof value !== "object" || value === null) return JSON.stringify(value) ?? "null"
  const members = Object.entries(value)
    .filter(([, member]) => member !== undefined)
    .sort(([a], [b]) => (a < b ? -1 : 1))
  return `{${members.map(([key, member]) => `${JSON.stringify(key)}:${writeSorted(member)}`).join(",")}}`
}

/**
 * JSON with sorted keys and no blanks; RFC 8785 takes numbers and strings exactly as JSON.stringify writes them. Of values as JSON has
 * them, or undefined.
 */
export const canonicalJson = (value: unknown): string => {
  const ordered = sorted(value)
  return ordered === undefined ? writeSorted(value) : JSON.stringify(ordered)
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
