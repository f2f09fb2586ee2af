/** Jobs: the list, one of them, and the decisions about them. */
import { Hono } from "hono"
import type { JobService } from "../../src/jobs/job.service"
import type { ApiEnv } from "../../src/server/operation"
import { confirmPage } from "../pages/confirm.page"
import { cancelQuestion, jobPage, rejectQuestion } from "../pages/job.page"
import { jobsPage } from "../pages/jobs.page"
import type { JobRow } from "../pages/views"
import { pendingApproval } from "./approval.rows"
import { allow, type ConsoleDeps, formOf, frameOf, listOf, page, pageBefore, redirect } from "./room"
import { auditRows, jobRows } from "./rows"

type JobFilter = Parameters<JobService["list"]>[0]
type Job = Awaited<ReturnType<JobService["get"]>>

/** A status or type that does not exist matches nothing. */
const filterOf = ({ status, type, certificate_id, agent_id }: Readonly<Record<string, string>>): JobFilter =>
  ({
    ...(status === "open" ? { isOpen: true } : { status }),
    type,
    certificateId: certificate_id,
    agentId: agent_id,
  }) as JobFilter

const verificationOf = (job: Job) =>
  job.verifiedAt === null
    ? null
    : {
        expectedFingerprint: job.verificationExpected ?? "",
        actualFingerprint: job.verificationFingerprint ?? "",
        verifiedAt: job.verifiedAt,
        error: job.verificationError,
      }

export const jobsRoom = (deps: ConsoleDeps) => {
  const { jobs, inventory, audit } = deps

  const rowOf = async (job: Job): Promise<JobRow> => {
    const [row] = await jobRows(inventory, [job])
    if (row === undefined) throw new Error(`job ${job.id} has no row`)
    return row
  }
  const upTo = (id: string) => ({ label: "Job", href: `/jobs/${id}` })

  return new Hono<ApiEnv>()
    .get("/jobs", async (c) => {
      const { state, page: number, pageSize, range } = listOf(c)
      const [frame, { rows, total }] = await Promise.all([frameOf(deps, c), jobs.list(filterOf(state.params), range)])
      const paging = { page: number, pageSize, total }
      return page(c, jobsPage({ frame, state, paging, rows: await jobRows(inventory, rows) }))
    })
    .get("/jobs/:id", async (c) => {
      const job = await jobs.get(c.req.param("id"))
      const [frame, row, approval, { rows }] = await Promise.all([
        frameOf(deps, c),
        rowOf(job),
        pendingApproval(deps, job, c.get("actor")),
        audit.list({ resourceType: "job", resourceId: job.id }, { page: 1, per_page: 20 }),
      ])
      return page(
        c,
        jobPage({
          frame,
          job: row,
          approval,
          verification: verificationOf(job),
          steps: [],
          audit: await auditRows(inventory, rows),
        }),
      )
    })
    .get("/jobs/:id/cancel", async (c) => {
      allow(c, "operator")
      const job = await rowOf(await jobs.get(c.req.param("id")))
      return page(c, confirmPage(await frameOf(deps, c), cancelQuestion(job), upTo(job.id)))
    })
    .get("/jobs/:id/reject", async (c) => {
      allow(c, "operator")
      const job = await rowOf(await jobs.get(c.req.param("id")))
      return page(c, confirmPage(await frameOf(deps, c), rejectQuestion(job), upTo(job.id)))
    })
    .post("/jobs/:id/cancel", async (c) => {
      allow(c, "operator")
      const id = c.req.param("id")
      await jobs.cancel(id, c.get("actor"))
      return redirect(c, `/jobs/${id}`, { key: "job-cancelled" })
    })
    .post("/jobs/:id/approve", async (c) => {
      allow(c, "operator")
      const id = c.req.param("id")
      const form = await formOf(c)
      await jobs.approve(id, c.get("actor"))
      return redirect(c, pageBefore(c, form.text("back"), `/jobs/${id}`), { key: "job-approved" })
    })
    .post("/jobs/:id/reject", async (c) => {
      allow(c, "operator")
      const id = c.req.param("id")
      const form = await formOf(c)
      await jobs.reject(id, form.text("reason").slice(0, 1000), c.get("actor"))
      return redirect(c, `/jobs/${id}`, { key: "job-rejected" })
    })
}
