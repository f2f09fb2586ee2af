/** Routes under /api/v1/renewal-policies. */
import { Hono } from "hono"
import { type ApiEnv, input, operation } from "../server/operation"
import { pagedAnswer, sliceOf } from "../server/paging"
import { IdParam } from "../server/resource.schema"
import {
  NewRenewalPolicyBody,
  RenewalPolicyAnswer,
  RenewalPolicyListAnswer,
  RenewalPolicyPatchBody,
  RenewalPolicyQuery,
  renewalPolicyAnswer,
} from "./renewal-policy.schema"
import type { RenewalPolicyService } from "./renewal-policy.service"

export const renewalPolicyRoutes = (policies: RenewalPolicyService) =>
  new Hono<ApiEnv>()
    .get(
      "/",
      operation({
        id: "list_renewal_policies",
        summary: "List renewal policies",
        role: "viewer",
        returns: RenewalPolicyListAnswer,
      }),
      input("query", RenewalPolicyQuery),
      async (c) => {
        const query = c.req.valid("query")
        return c.json(pagedAnswer(query, await policies.list({ search: query.q }, sliceOf(query)), renewalPolicyAnswer))
      },
    )
    .post(
      "/",
      operation({
        id: "create_renewal_policy",
        summary: "Create a renewal policy",
        role: "operator",
        errors: { 409: "The name or the id is taken" },
        returns: RenewalPolicyAnswer,
        status: 201,
      }),
      input("json", NewRenewalPolicyBody),
      async (c) => c.json(renewalPolicyAnswer(await policies.create(c.req.valid("json"), c.get("actor"))), 201),
    )
    .get(
      "/:id",
      operation({
        id: "get_renewal_policy",
        summary: "Show a renewal policy",
        role: "viewer",
        returns: RenewalPolicyAnswer,
      }),
      input("param", IdParam),
      async (c) => c.json(renewalPolicyAnswer(await policies.get(c.req.valid("param").id))),
    )
    .put(
      "/:id",
      operation({
        id: "update_renewal_policy",
        summary: "Change a renewal policy",
        role: "operator",
        errors: { 409: "Another policy has the name" },
        returns: RenewalPolicyAnswer,
      }),
      input("param", IdParam),
      input("json", RenewalPolicyPatchBody),
      async (c) =>
        c.json(
          renewalPolicyAnswer(await policies.update(c.req.valid("param").id, c.req.valid("json"), c.get("actor"))),
        ),
    )
    .delete(
      "/:id",
      operation({
        id: "delete_renewal_policy",
        summary: "Delete a renewal policy",
        role: "operator",
        errors: { 409: "Certificates use it" },
      }),
      input("param", IdParam),
      async (c) => {
        await policies.remove(c.req.valid("param").id, c.get("actor"))
        return c.body(null, 204)
      },
    )
