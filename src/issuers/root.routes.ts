/** Routes under /api/v1/issuers/{id}/roots. */
import { Hono } from "hono"
import * as v from "valibot"
import { keyTypes } from "../pki/keys"
import { type ApiEnv, input, operation } from "../server/operation"
import { IdParam } from "../server/resource.schema"
import { requiredTime, WireTime, withoutAbsent } from "../server/wire"
import type { Root, RootService } from "./root.service"

const RootAnswer = v.pipe(
  v.object({
    key_id: v.string(),
    state: v.picklist(["active", "former", "retired"]),
    subject: v.string(),
    serial_number: v.string(),
    fingerprint: v.string(),
    not_before: WireTime,
    not_after: WireTime,
    cert_pem: v.string(),
    new_with_old_pem: v.optional(v.string()),
    old_with_new_pem: v.optional(v.string()),
    created_at: WireTime,
  }),
  v.metadata({ ref: "IssuerRoot" }),
)

const RootsAnswer = v.object({ data: v.array(RootAnswer) })

const RollOverBody = v.object({ key_type: v.optional(v.picklist(keyTypes)) })
const RootParam = v.object({ id: IdParam.entries.id, key_id: v.string() })

const rootAnswer = ({ ski, state, facts, newWithOldPem, oldWithNewPem, createdAt }: Root) =>
  withoutAbsent({
    key_id: ski,
    state,
    subject: facts.subjectDn,
    serial_number: facts.serial,
    fingerprint: facts.fingerprint,
    not_before: requiredTime(facts.notBefore),
    not_after: requiredTime(facts.notAfter),
    cert_pem: facts.pem,
    new_with_old_pem: newWithOldPem,
    old_with_new_pem: oldWithNewPem,
    created_at: requiredTime(createdAt),
  })

export const rootRoutes = (roots: RootService) =>
  new Hono<ApiEnv>()
    .get(
      "/:id/roots",
      operation({
        id: "list_issuer_roots",
        summary: "List the roots of an issuer that certctl keeps, newest first",
        role: "viewer",
        returns: RootsAnswer,
      }),
      input("param", IdParam),
      async (c) => c.json({ data: (await roots.list(c.req.valid("param").id)).map(rootAnswer) }),
    )
    .post(
      "/:id/roots",
      operation({
        id: "roll_over_issuer_root",
        summary: "Replace the root that an issuer signs with by a new one, each certified by the other",
        role: "admin",
        returns: RootsAnswer,
        status: 201,
        errors: {
          409: "There is no root yet, or somebody else is replacing it",
          501: "The issuer does not sign with a root that is kept here",
        },
      }),
      input("param", IdParam),
      input("json", RollOverBody),
      async (c) => {
        const { key_type } = c.req.valid("json")
        const all = await roots.rollOver(c.req.valid("param").id, key_type ?? null, c.get("actor"))
        return c.json({ data: all.map(rootAnswer) }, 201)
      },
    )
    .post(
      "/:id/roots/:key_id/retire",
      operation({
        id: "retire_issuer_root",
        summary: "Hand out no more what leads from a former root to the present one",
        role: "admin",
        returns: RootsAnswer,
        errors: { 409: "The root signs, or is retired already" },
      }),
      input("param", RootParam),
      async (c) => {
        const { id, key_id } = c.req.valid("param")
        return c.json({ data: (await roots.retire(id, key_id, c.get("actor"))).map(rootAnswer) })
      },
    )
