/** Routes under /api/v1/search. */
import { Hono } from "hono"
import { type ApiEnv, input, operation } from "../server/operation"
import { SearchAnswer, SearchQuery, searchAnswer } from "./search.schema"
import type { SearchService } from "./search.service"
import { searchKinds } from "./search-kinds"

export const searchRoutes = (search: SearchService) =>
  new Hono<ApiEnv>().get(
    "/",
    operation({
      id: "search",
      summary: "Find anything by a part of its name, its id, serial number or fingerprint",
      description:
        "What is exactly the text comes first, then what begins with it, then what has it somewhere; among equals the newest. " +
        "Serial numbers and fingerprints may have colons, capitals and leading zeros. Jobs, approvals, notifications, audit " +
        "events and versions are found by their whole id. Text of fewer than three characters finds whole values only.",
      role: "viewer",
      returns: SearchAnswer,
    }),
    input("query", SearchQuery),
    async (c) => {
      const { q, kinds = searchKinds, limit } = c.req.valid("query")
      return c.json(searchAnswer(await search.find(q, kinds, limit)))
    },
  )
