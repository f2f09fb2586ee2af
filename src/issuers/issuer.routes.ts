/** Routes under /api/v1/issuers. Who may change an issuer may have certificates for any name, so only administrators do. */
import { Hono } from "hono"
import { type ApiEnv, input, operation } from "../server/operation"
import { listAnswer, PageQuery, rangeOf } from "../server/paging"
import { IdParam } from "../server/resource.schema"
import {
  IssuerAnswer,
  IssuerListAnswer,
  IssuerPatchBody,
  IssuerTestAnswer,
  issuerAnswer,
  NewIssuerBody,
} from "./issuer.schema"
import type { IssuerService } from "./issuer.service"

const administrators = { role: "admin", openWithoutAuthentication: true } as const

export const issuerRoutes = (issuers: IssuerService) =>
  new Hono<ApiEnv>()
    .get(
      "/",
      operation({ id: "list_issuers", summary: "List issuers", role: "viewer", returns: IssuerListAnswer }),
      input("query", PageQuery),
      async (c) => {
        const page = c.req.valid("query")
        const { rows, total } = await issuers.list(rangeOf(page))
        return c.json(listAnswer(rows.map(issuerAnswer), total, page))
      },
    )
    .post(
      "/",
      operation({
        id: "create_issuer",
        summary: "Create an issuer",
        ...administrators,
        returns: IssuerAnswer,
        status: 201,
      }),
      input("json", NewIssuerBody),
      async (c) => c.json(issuerAnswer(await issuers.create(c.req.valid("json"), c.get("actor"))), 201),
    )
    .get(
      "/:id",
      operation({ id: "get_issuer", summary: "Show an issuer", role: "viewer", returns: IssuerAnswer }),
      input("param", IdParam),
      async (c) => c.json(issuerAnswer(await issuers.get(c.req.valid("param").id))),
    )
    .put(
      "/:id",
      operation({ id: "update_issuer", summary: "Change an issuer", ...administrators, returns: IssuerAnswer }),
      input("param", IdParam),
      input("json", IssuerPatchBody),
      async (c) =>
        c.json(issuerAnswer(await issuers.update(c.req.valid("param").id, c.req.valid("json"), c.get("actor")))),
    )
    .delete(
      "/:id",
      operation({ id: "delete_issuer", summary: "Delete an issuer", ...administrators }),
      input("param", IdParam),
      async (c) => {
        await issuers.remove(c.req.valid("param").id, c.get("actor"))
        return c.body(null, 204)
      },
    )
    .post(
      "/:id/test",
      operation({
        id: "test_issuer",
        summary: "Test an issuer's connection",
        role: "operator",
        returns: IssuerTestAnswer,
      }),
      input("param", IdParam),
      async (c) => {
        await issuers.test(c.req.valid("param").id, c.get("actor"))
        return c.json({ status: "connection_successful" as const })
      },
    )
