/** Routes under /api/v1/policies. */
import { Hono } from "hono"
import { type ApiEnv, input, operation } from "../server/operation"
import { pagedAnswer, sliceOf } from "../server/paging"
import { IdParam } from "../server/resource.schema"
import {
  NewPolicyRuleBody,
  PolicyRuleAnswer,
  PolicyRuleListAnswer,
  PolicyRulePatchBody,
  PolicyRuleQuery,
  policyRuleAnswer,
  ViolationListAnswer,
  ViolationQuery,
  violationAnswer,
} from "./policy.schema"
import type { PolicyService } from "./policy.service"

export const policyRoutes = (policies: PolicyService) =>
  new Hono<ApiEnv>()
    .get(
      "/",
      operation({ id: "list_policies", summary: "List policy rules", role: "viewer", returns: PolicyRuleListAnswer }),
      input("query", PolicyRuleQuery),
      async (c) => {
        const query = c.req.valid("query")
        return c.json(pagedAnswer(query, await policies.list({ search: query.q }, sliceOf(query)), policyRuleAnswer))
      },
    )
    .post(
      "/",
      operation({
        id: "create_policy",
        summary: "Create a policy rule",
        role: "operator",
        errors: { 409: "The name or the id is taken" },
        returns: PolicyRuleAnswer,
        status: 201,
      }),
      input("json", NewPolicyRuleBody),
      async (c) => c.json(policyRuleAnswer(await policies.create(c.req.valid("json"), c.get("actor"))), 201),
    )
    .get(
      "/:id",
      operation({ id: "get_policy", summary: "Show a policy rule", role: "viewer", returns: PolicyRuleAnswer }),
      input("param", IdParam),
      async (c) => c.json(policyRuleAnswer(await policies.get(c.req.valid("param").id))),
    )
    .put(
      "/:id",
      operation({
        id: "update_policy",
        summary: "Change a policy rule",
        role: "operator",
        errors: { 409: "Another rule has the name" },
        returns: PolicyRuleAnswer,
      }),
      input("param", IdParam),
      input("json", PolicyRulePatchBody),
      async (c) => {
        const rule = await policies.update(c.req.valid("param").id, c.req.valid("json"), c.get("actor"))
        return c.json(policyRuleAnswer(rule))
      },
    )
    .delete(
      "/:id",
      operation({ id: "delete_policy", summary: "Delete a policy rule and its violations", role: "operator" }),
      input("param", IdParam),
      async (c) => {
        await policies.remove(c.req.valid("param").id, c.get("actor"))
        return c.body(null, 204)
      },
    )
    .get(
      "/:id/violations",
      operation({
        id: "list_policy_violations",
        summary: "List the certificates that violate a rule",
        role: "viewer",
        returns: ViolationListAnswer,
      }),
      input("param", IdParam),
      input("query", ViolationQuery),
      async (c) => {
        const query = c.req.valid("query")
        const filter = { ruleId: c.req.valid("param").id, search: query.q }
        return c.json(pagedAnswer(query, await policies.violations(filter, sliceOf(query)), violationAnswer))
      },
    )
