/** Routes under /api/v1/stats. */
import { Hono } from "hono"
import { type ApiEnv, input, operation } from "../server/operation"
import {
  DaysQuery,
  IssuanceRateAnswer,
  JobTrendsAnswer,
  StatusCountsAnswer,
  SummaryAnswer,
  summaryAnswer,
  TimelineAnswer,
} from "./stats.schema"
import type { StatsService } from "./stats.service"

export const statsRoutes = (stats: StatsService) =>
  new Hono<ApiEnv>()
    .get(
      "/summary",
      operation({ id: "get_summary", summary: "Show the dashboard's numbers", role: "viewer", returns: SummaryAnswer }),
      async (c) => c.json(summaryAnswer(await stats.summary())),
    )
    .get(
      "/certificates-by-status",
      operation({
        id: "count_certificates_by_status",
        summary: "Count certificates by status",
        role: "viewer",
        returns: StatusCountsAnswer,
      }),
      async (c) => c.json(await stats.certificatesByStatus()),
    )
    .get(
      "/expiration-timeline",
      operation({
        id: "get_expiration_timeline",
        summary: "Count the certificates that expire on each of the coming days",
        role: "viewer",
        returns: TimelineAnswer,
      }),
      input("query", DaysQuery),
      async (c) => c.json(await stats.expirationTimeline(c.req.valid("query").days)),
    )
    .get(
      "/job-trends",
      operation({
        id: "get_job_trends",
        summary: "Count the jobs that ended on each of the past days",
        role: "viewer",
        returns: JobTrendsAnswer,
      }),
      input("query", DaysQuery),
      async (c) => {
        const days = await stats.jobTrends(c.req.valid("query").days)
        return c.json(
          days.map(({ date, completed, failed, successRate }) => ({
            date,
            completed_count: completed,
            failed_count: failed,
            success_rate: successRate,
          })),
        )
      },
    )
    .get(
      "/issuance-rate",
      operation({
        id: "get_issuance_rate",
        summary: "Count the certificates created on each of the past days",
        role: "viewer",
        returns: IssuanceRateAnswer,
      }),
      input("query", DaysQuery),
      async (c) => {
        const days = await stats.issuanceRate(c.req.valid("query").days)
        return c.json(days.map(({ date, count }) => ({ date, issued_count: count })))
      },
    )
