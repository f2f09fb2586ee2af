/** ACME accounts, and the keys that let clients open one, below /api/v1/admin/acme. */
import { Hono } from "hono"
import * as v from "valibot"
import { accountStatuses } from "../db/tables/acme.tables"
import { type ApiEnv, input, operation } from "../server/operation"
import { listParams, pagedAnswer, pagedListOf, sliceOf } from "../server/paging"
import { IdParam } from "../server/resource.schema"
import { optionalTime, requiredTime, WireTime, withoutAbsent } from "../server/wire"
import type { AccountRow } from "./account.store"
import type { AcmeAdminService } from "./acme-admin.service"
import type { ExternalAccount, ExternalAccountService } from "./external-account.service"

const AccountRowAnswer = v.pipe(
  v.object({
    id: v.string(),
    status: v.picklist(accountStatuses),
    contact: v.array(v.string()),
    profile_id: v.string(),
    owner_id: v.optional(v.string()),
    jwk_thumbprint: v.string(),
    created_at: WireTime,
    updated_at: WireTime,
  }),
  v.metadata({ ref: "AcmeAccountRow" }),
)

const accountRow = (row: AccountRow) =>
  withoutAbsent({
    id: row.id,
    status: row.status,
    contact: row.contact,
    profile_id: row.profileId,
    owner_id: row.ownerId,
    jwk_thumbprint: row.jwkThumbprint,
    created_at: requiredTime(row.createdAt),
    updated_at: requiredTime(row.updatedAt),
  })

const externalShape = {
  id: v.string(),
  profile_id: v.string(),
  owner_id: v.optional(v.string()),
  created_by: v.string(),
  created_at: WireTime,
  expires_at: v.optional(WireTime),
  account_id: v.optional(v.string()),
  bound_at: v.optional(WireTime),
}
const ExternalAnswer = v.pipe(v.object(externalShape), v.metadata({ ref: "AcmeExternalAccount" }))
const NewExternalAnswer = v.pipe(
  // The id is what clients call the key id; the key, base64url, is told only here.
  v.object({ ...externalShape, hmac_key: v.string() }),
  v.metadata({ ref: "NewAcmeExternalAccount" }),
)

const externalRow = (row: ExternalAccount) =>
  withoutAbsent({
    id: row.id,
    profile_id: row.profileId,
    owner_id: row.ownerId,
    created_by: row.createdBy,
    created_at: requiredTime(row.createdAt),
    expires_at: optionalTime(row.expiresAt),
    account_id: row.accountId,
    bound_at: optionalTime(row.boundAt),
  })

const longestTtlSeconds = 366 * 86_400

const ExternalBody = v.object({
  profile_id: v.pipe(v.string(), v.minLength(1), v.maxLength(255)),
  owner_id: v.optional(v.pipe(v.string(), v.maxLength(255))),
  ttl_seconds: v.optional(v.pipe(v.number(), v.integer(), v.minValue(1), v.maxValue(longestTtlSeconds))),
})

interface Services {
  readonly accounts: AcmeAdminService
  readonly externals: Pick<ExternalAccountService, "create" | "list" | "remove">
}

export const acmeAdminRoutes = ({ accounts, externals }: Services) =>
  new Hono<ApiEnv>()
    .get(
      "/accounts",
      operation({
        id: "list_acme_accounts",
        summary: "List the accounts of ACME clients",
        role: "admin",
        returns: pagedListOf(AccountRowAnswer),
      }),
      input("query", v.object(listParams(["id", "jwk_thumbprint"]))),
      async (c) => {
        const query = c.req.valid("query")
        return c.json(pagedAnswer(query, await accounts.list({ search: query.q }, sliceOf(query)), accountRow))
      },
    )
    .post(
      "/accounts/:id/revoke",
      operation({
        id: "revoke_acme_account",
        summary: "End an ACME account",
        description: "Its open orders fail; what it was issued stays valid.",
        role: "admin",
        returns: AccountRowAnswer,
      }),
      input("param", IdParam),
      async (c) => c.json(accountRow(await accounts.revoke(c.req.valid("param").id, c.get("actor")))),
    )
    .get(
      "/external-accounts",
      operation({
        id: "list_acme_external_accounts",
        summary: "List the keys handed out for opening ACME accounts",
        role: "admin",
        returns: v.object({ data: v.array(ExternalAnswer) }),
      }),
      async (c) => c.json({ data: (await externals.list()).map(externalRow) }),
    )
    .post(
      "/external-accounts",
      operation({
        id: "create_acme_external_account",
        summary: "Make a key that opens one ACME account",
        role: "admin",
        returns: NewExternalAnswer,
        status: 201,
      }),
      input("json", ExternalBody),
      async (c) => {
        const { profile_id, owner_id, ttl_seconds } = c.req.valid("json")
        const { key, ...row } = await externals.create(
          { profileId: profile_id, ownerId: owner_id ?? null, ttlSeconds: ttl_seconds ?? null },
          c.get("actor"),
        )
        return c.json({ ...externalRow(row), hmac_key: key }, 201)
      },
    )
    .delete(
      "/external-accounts/:id",
      operation({
        id: "delete_acme_external_account",
        summary: "Withdraw a key for opening an ACME account; an account opened with it goes on",
        role: "admin",
      }),
      input("param", IdParam),
      async (c) => {
        await externals.remove(c.req.valid("param").id, c.get("actor"))
        return c.body(null, 204)
      },
    )
