/** Routes under /api/v1/network-scan-targets. */
import { Hono } from "hono"
import { type ApiEnv, input, operation } from "../server/operation"
import { pagedAnswer, sliceOf } from "../server/paging"
import { IdParam } from "../server/resource.schema"
import {
  NetworkScanTargetAnswer,
  NetworkScanTargetListAnswer,
  NetworkScanTargetPatchBody,
  NetworkScanTargetQuery,
  NewNetworkScanTargetBody,
  networkScanTargetAnswer,
} from "./network-scan-target.schema"
import type { NetworkScanTargetService } from "./network-scan-target.service"

export const networkScanTargetRoutes = (targets: NetworkScanTargetService) =>
  new Hono<ApiEnv>()
    .get(
      "/",
      operation({
        id: "list_network_scan_targets",
        summary: "List network scan targets",
        role: "viewer",
        returns: NetworkScanTargetListAnswer,
      }),
      input("query", NetworkScanTargetQuery),
      async (c) => {
        const query = c.req.valid("query")
        return c.json(
          pagedAnswer(query, await targets.list({ search: query.q }, sliceOf(query)), networkScanTargetAnswer),
        )
      },
    )
    .post(
      "/",
      operation({
        id: "create_network_scan_target",
        summary: "Create a network scan target",
        role: "operator",
        returns: NetworkScanTargetAnswer,
        status: 201,
      }),
      input("json", NewNetworkScanTargetBody),
      async (c) => c.json(networkScanTargetAnswer(await targets.create(c.req.valid("json"), c.get("actor"))), 201),
    )
    .get(
      "/:id",
      operation({
        id: "get_network_scan_target",
        summary: "Show a network scan target",
        role: "viewer",
        returns: NetworkScanTargetAnswer,
      }),
      input("param", IdParam),
      async (c) => c.json(networkScanTargetAnswer(await targets.get(c.req.valid("param").id))),
    )
    .put(
      "/:id",
      operation({
        id: "update_network_scan_target",
        summary: "Change a network scan target",
        role: "operator",
        returns: NetworkScanTargetAnswer,
      }),
      input("param", IdParam),
      input("json", NetworkScanTargetPatchBody),
      async (c) => {
        const target = await targets.update(c.req.valid("param").id, c.req.valid("json"), c.get("actor"))
        return c.json(networkScanTargetAnswer(target))
      },
    )
    .delete(
      "/:id",
      operation({
        id: "delete_network_scan_target",
        summary: "Delete a network scan target",
        role: "operator",
      }),
      input("param", IdParam),
      async (c) => {
        await targets.remove(c.req.valid("param").id, c.get("actor"))
        return c.body(null, 204)
      },
    )
