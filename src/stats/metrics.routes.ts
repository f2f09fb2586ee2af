/** Routes under /api/v1/metrics. */
import { Hono } from "hono"
import { type ApiEnv, operation } from "../server/operation"
import type { MetricsService } from "./metrics.service"
import { MetricsAnswer, metricsAnswer } from "./stats.schema"

export const metricsRoutes = (metrics: MetricsService) =>
  new Hono<ApiEnv>()
    .get(
      "/",
      operation({ id: "get_metrics", summary: "Show metrics as JSON", role: "viewer", returns: MetricsAnswer }),
      async (c) => c.json(metricsAnswer(await metrics.measure())),
    )
    .get(
      "/prometheus",
      operation({
        id: "get_prometheus_metrics",
        summary: "Show metrics for Prometheus",
        role: "viewer",
        produces: "text/plain",
      }),
      async (c) => {
        const { text, contentType } = await metrics.prometheus()
        return c.body(text, 200, { "content-type": contentType })
      },
    )
