/** Management of stored API keys, for administrators. */
import { Hono } from "hono"
import * as v from "valibot"
import { type ApiEnv, input, operation } from "../server/operation"
import { pagedAnswer, pagedListOf, sliceOf } from "../server/paging"
import { ApiKeyAnswer, ApiKeyBody, ApiKeyQuery, apiKeyAnswer, NewApiKeyAnswer } from "./api-key.schema"
import type { ApiKeyService } from "./api-key.service"

const Id = v.object({ id: v.string() })

/** Mount under `/api-keys`. */
export const apiKeyRoutes = (keys: Pick<ApiKeyService, "list" | "create" | "rotate" | "disable">) =>
  new Hono<ApiEnv>()
    .get(
      "/",
      operation({
        id: "list_api_keys",
        summary: "List stored API keys",
        role: "admin",
        returns: pagedListOf(ApiKeyAnswer),
      }),
      input("query", ApiKeyQuery),
      async (c) => {
        const query = c.req.valid("query")
        return c.json(pagedAnswer(query, await keys.list({ search: query.q }, sliceOf(query)), apiKeyAnswer))
      },
    )
    .post(
      "/",
      operation({
        id: "create_api_key",
        summary: "Make an API key; the answer holds its only copy",
        role: "admin",
        errors: { 409: "The name is taken" },
        returns: NewApiKeyAnswer,
        status: 201,
      }),
      input("json", ApiKeyBody),
      async (c) => {
        const { row, key } = await keys.create(c.req.valid("json"), c.get("actor"))
        return c.json({ ...apiKeyAnswer(row), key }, 201)
      },
    )
    .post(
      "/:id/rotate",
      operation({
        id: "rotate_api_key",
        summary: "Replace an API key; the former one ends at once",
        role: "admin",
        errors: { 400: "The key is disabled" },
        returns: NewApiKeyAnswer,
      }),
      input("param", Id),
      async (c) => {
        const { row, key } = await keys.rotate(c.req.valid("param").id, c.get("actor"))
        return c.json({ ...apiKeyAnswer(row), key })
      },
    )
    .delete(
      "/:id",
      operation({ id: "disable_api_key", summary: "Disable an API key and end its sessions", role: "admin" }),
      input("param", Id),
      async (c) => {
        await keys.disable(c.req.valid("param").id, c.get("actor"))
        return c.body(null, 204)
      },
    )
