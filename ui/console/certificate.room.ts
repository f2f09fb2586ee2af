/** One certificate: its page, its file, and what people do with it. */
import { Hono } from "hono"
import { AppError } from "../../src/errors"
import type { ApiEnv } from "../../src/server/operation"
import { certificatePage } from "../pages/certificate.page"
import { archiveQuestion, deployVersionQuestion, forceRenewQuestion } from "../pages/certificate.questions"
import { confirmPage } from "../pages/confirm.page"
import type { Question } from "../parts/confirm"
import { approvalRows } from "./approval.rows"
import { loadCertificate } from "./certificate.loader"
import { allow, type ConsoleDeps, formOf, frameOf, type PageContext, page, queryOf, redirect } from "./room"

export const certificateRoom = (deps: ConsoleDeps) => {
  const { certificates, deployments, inventory, renewals, clock } = deps

  const ask = async (c: PageContext, id: string, question: (subject: QuestionSubject) => Question) => {
    allow(c, "operator")
    const certificate = await certificates.get(id)
    const [frame, places] = await Promise.all([frameOf(deps, c), inventory.placesOf([id])])
    const subject = { id, commonName: certificate.commonName, targets: places.get(id) ?? [] }
    return page(c, confirmPage(frame, question(subject), { label: subject.commonName, href: `/certificates/${id}` }))
  }

  return new Hono<ApiEnv>()
    .get("/certificates/:id", async (c) => {
      const id = c.req.param("id")
      const [frame, props, waiting] = await Promise.all([
        frameOf(deps, c),
        loadCertificate(deps, id, clock.now()),
        deps.approvals.list({ certificateId: id, state: "pending" }, { limit: 1, offset: 0 }),
      ])
      const [approval = null] = await approvalRows(deps, waiting.rows, c.get("actor"))
      return page(c, certificatePage({ frame, ...props, approval }))
    })
    .get("/certificates/:id/deploy", async (c) => {
      const id = c.req.param("id")
      const wanted = queryOf(c).get("version_id")
      const { versions } = await loadCertificate(deps, id, clock.now())
      const version = versions.find((one) => one.id === wanted && one.isDeployable)
      if (version === undefined) throw new AppError("not_found", "there is no such version that could be deployed")
      return ask(c, id, (subject) => deployVersionQuestion(subject, version, clock.now()))
    })
    .get("/certificates/:id/renew", (c) => ask(c, c.req.param("id"), forceRenewQuestion))
    .get("/certificates/:id/archive", (c) => ask(c, c.req.param("id"), archiveQuestion))
    .post("/certificates/:id/renew", async (c) => {
      allow(c, "operator")
      const id = c.req.param("id")
      const force = queryOf(c).get("force") === "true"
      try {
        const { jobId } = await renewals.trigger(id, { force }, c.get("actor"))
        return redirect(c, `/certificates/${id}`, { key: "renewal-started", jobId })
      } catch (error) {
        if (!(error instanceof AppError) || error.code !== "conflict") throw error
        return redirect(c, `/certificates/${id}`, { key: "renewal-running" })
      }
    })
    .post("/certificates/:id/deploy", async (c) => {
      allow(c, "operator")
      const id = c.req.param("id")
      const form = await formOf(c)
      const wanted = {
        targetId: form.text("target_id") || undefined,
        versionId: form.text("version_id") || queryOf(c).get("version_id") || undefined,
        ignoresWindows: queryOf(c).get("ignore_windows") === "true",
      }
      const { jobIds } = await deployments.deploy(id, wanted, c.get("actor"))
      return redirect(c, `/certificates/${id}`, {
        key: "deployment-started",
        ...(jobIds.length === 1 ? { jobId: jobIds[0] } : {}),
      })
    })
    .post("/certificates/:id/archive", async (c) => {
      allow(c, "operator")
      const id = c.req.param("id")
      await certificates.archive(id, c.get("actor"))
      return redirect(c, `/certificates/${id}`, { key: "certificate-archived" })
    })
}

type QuestionSubject = Parameters<typeof archiveQuestion>[0]
