/** Routes under /api/v1/policies. */
import { Hono } from "hono"
import { type ApiEnv, input, operation } from "../server/operation"
import { cursorAnswer, cursorPageOf, listAnswer, PageQuery, rangeOf } from "../server/paging"
import { IdParam } from "../server/resource.schema"
import {
  NewPolicyRuleBody,
  PolicyRuleAnswer,
  PolicyRuleListAnswer,
  PolicyRulePatchBody,
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
      input("query", PageQuery),
      async (c) => {
        const page = c.req.valid("query")
        const { rows, total } = await policies.list(rangeOf(page))
        return c.json(listAnswer(rows.map(policyRuleAnswer), total, page))
      },
    )
    .post(
      "/",
      operation({
        id: "create_policy",
        summary: "Create a policy rule",
        role: "operator",
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
      operation({ id: "update_policy", summary: "Change a policy rule", role: "operator", returns: PolicyRuleAnswer }),
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
        const cursorPage = cursorPageOf(query)
        if (cursorPage !== null) {
          const { rows, total } = await policies.violationsAfter(filter, cursorPage.after, cursorPage.pageSize + 1)
          return c.json(cursorAnswer(rows, total, cursorPage, violationAnswer))
        }
        const { rows, total } = await policies.violations(filter, rangeOf(query))
        return c.json(listAnswer(rows.map(violationAnswer), total, query))
      },
    )
