/** Routes of CA hierarchies: below /api/v1/issuers/{id}/intermediates and /api/v1/intermediates. For administrators. */
import { Hono } from "hono"
import * as v from "valibot"
import { type ApiEnv, input, operation } from "../server/operation"
import { IdParam } from "../server/resource.schema"
import {
  IntermediateAnswer,
  intermediateAnswer,
  NewIntermediateBody,
  newChildIn,
  newRootIn,
} from "./intermediate.schema"
import type { IntermediateService } from "./intermediate.service"

export const issuerIntermediateRoutes = (intermediates: IntermediateService) =>
  new Hono<ApiEnv>()
    .get(
      "/:id/intermediates",
      operation({
        id: "list_intermediate_cas",
        summary: "List the CAs of an issuer's hierarchy",
        role: "admin",
        returns: v.object({ data: v.array(IntermediateAnswer) }),
      }),
      input("param", IdParam),
      async (c) => c.json({ data: (await intermediates.list(c.req.valid("param").id)).map(intermediateAnswer) }),
    )
    .post(
      "/:id/intermediates",
      operation({
        id: "create_intermediate_ca",
        summary: "Register a root, or make a CA below another one",
        role: "admin",
        returns: IntermediateAnswer,
        status: 201,
        errors: {
          409: "The parent is not active, an active root is there, or the name is taken",
          500: "The root's key file cannot be used",
        },
      }),
      input("param", IdParam),
      input("json", NewIntermediateBody),
      async (c) => {
        const { id } = c.req.valid("param")
        const body = c.req.valid("json")
        const root = newRootIn(body)
        const made =
          root === null && "parent_ca_id" in body
            ? await intermediates.createChild(id, newChildIn(body), c.get("actor"))
            : root !== null && (await intermediates.createRoot(id, root, c.get("actor")))
        if (made === false) throw new Error("the body is neither a root nor a child")
        return c.json(intermediateAnswer(made), 201)
      },
    )

export const intermediateRoutes = (intermediates: IntermediateService) =>
  new Hono<ApiEnv>()
    .get(
      "/:id",
      operation({
        id: "get_intermediate_ca",
        summary: "Show a CA of a hierarchy",
        role: "admin",
        returns: IntermediateAnswer,
      }),
      input("param", IdParam),
      async (c) => c.json(intermediateAnswer(await intermediates.get(c.req.valid("param").id))),
    )
    .post(
      "/:id/retire",
      operation({
        id: "retire_intermediate_ca",
        summary: "Retire a CA: first it signs nothing new, a second call with confirm ends it",
        role: "admin",
        returns: v.object({ id: v.string(), decided_by: v.string(), confirmed: v.boolean() }),
        errors: { 409: "It is retired already, or CAs below it are not" },
      }),
      input("param", IdParam),
      input(
        "json",
        v.object({
          note: v.optional(v.pipe(v.string(), v.maxLength(2000)), ""),
          confirm: v.optional(v.boolean(), false),
        }),
      ),
      async (c) => {
        const { id, decidedBy, confirmed } = await intermediates.retire(
          c.req.valid("param").id,
          c.req.valid("json"),
          c.get("actor"),
        )
        return c.json({ id, decided_by: decidedBy, confirmed })
      },
    )
