/** API keys on the wire. The hash is never among it, the key only in the answer that makes it. */
import * as v from "valibot"
import { listParams } from "../server/paging"
import { optionalTime, requiredTime, WireTime } from "../server/wire"
import type { ApiKey } from "./api-key.store"

const label = v.pipe(
  v.string(),
  v.minLength(1),
  v.maxLength(255),
  v.regex(/^[\w.@+-]+$/, 'must consist of letters, digits and ". _ - + @"'),
)

export const ApiKeyBody = v.object({
  name: label,
  role: v.picklist(["admin", "operator", "viewer"]),
  principal: v.optional(label),
})

const entries = {
  id: v.string(),
  name: v.string(),
  principal: v.string(),
  role: v.picklist(["admin", "operator", "viewer"]),
  created_at: WireTime,
  last_used_at: v.optional(WireTime),
  disabled_at: v.optional(WireTime),
}

export const ApiKeyAnswer = v.pipe(v.object(entries), v.metadata({ ref: "ApiKey" }))
export const ApiKeyQuery = v.object(listParams(["id", "name", "principal"]))
export const NewApiKeyAnswer = v.pipe(
  v.object({ ...entries, key: v.pipe(v.string(), v.description("Shown once, here")) }),
  v.metadata({ ref: "NewApiKey" }),
)

export const apiKeyAnswer = (key: ApiKey): v.InferOutput<typeof ApiKeyAnswer> => ({
  id: key.id,
  name: key.name,
  principal: key.principal,
  role: key.role,
  created_at: requiredTime(key.createdAt),
  last_used_at: optionalTime(key.lastUsedAt),
  disabled_at: optionalTime(key.disabledAt),
})
