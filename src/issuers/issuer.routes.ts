/** Routes under /api/v1/issuers. Who may change an issuer may have certificates for any name, so only administrators do. */
import { Hono } from "hono"
import { type ApiEnv, input, operation } from "../server/operation"
import { pagedAnswer, sliceOf } from "../server/paging"
import { IdParam } from "../server/resource.schema"
import {
  IssuerAnswer,
  IssuerListAnswer,
  IssuerPatchBody,
  IssuerQuery,
  IssuerTestAnswer,
  inOurNames,
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
      input("query", IssuerQuery),
      async (c) => {
        const query = c.req.valid("query")
        return c.json(pagedAnswer(query, await issuers.list({ search: query.q }, sliceOf(query)), issuerAnswer))
      },
    )
    .post(
      "/",
      operation({
        id: "create_issuer",
        summary: "Create an issuer",
        ...administrators,
        errors: { 409: "The name or the id is taken" },
        returns: IssuerAnswer,
        status: 201,
      }),
      input("json", NewIssuerBody),
      async (c) => c.json(issuerAnswer(await issuers.create(inOurNames(c.req.valid("json")), c.get("actor"))), 201),
    )
    .get(
      "/:id",
      operation({ id: "get_issuer", summary: "Show an issuer", role: "viewer", returns: IssuerAnswer }),
      input("param", IdParam),
      async (c) => c.json(issuerAnswer(await issuers.get(c.req.valid("param").id))),
    )
    .put(
      "/:id",
      operation({
        id: "update_issuer",
        summary: "Change an issuer",
        ...administrators,
        errors: { 409: "Another issuer has the name" },
        returns: IssuerAnswer,
      }),
      input("param", IdParam),
      input("json", IssuerPatchBody),
      async (c) =>
        c.json(
          issuerAnswer(await issuers.update(c.req.valid("param").id, inOurNames(c.req.valid("json")), c.get("actor"))),
        ),
    )
    .delete(
      "/:id",
      operation({
        id: "delete_issuer",
        summary: "Delete an issuer",
        ...administrators,
        errors: { 409: "Certificates use it" },
      }),
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
        errors: { 500: "The connection does not work: the message says why" },
        returns: IssuerTestAnswer,
      }),
      input("param", IdParam),
      async (c) => {
        await issuers.test(c.req.valid("param").id, c.get("actor"))
        return c.json({ status: "connection_successful" as const })
      },
    )
