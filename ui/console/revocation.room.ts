/** Revoking, reassigning and renewing in the console, and taking certificates away as files. */
import { Hono } from "hono"
import { RevokeBody } from "../../src/certificates/revocation.schema"
import { AppError } from "../../src/errors"
import type { ApiEnv } from "../../src/server/operation"
import { parseInput } from "../../src/server/validation"
import { bulkReassignQuestion, bulkRevokeQuestion } from "../pages/bulk.questions"
import { pkcs12Question, revokeQuestion } from "../pages/certificate.questions"
import { confirmPage } from "../pages/confirm.page"
import type { Question } from "../parts/confirm"
import { allow, type ConsoleDeps, formOf, frameOf, type PageContext, page, pageBefore, redirect } from "./room"

/** As many as one page can show. */
const mostSelected = 200

/** A name that every file system takes; `*` of a wildcard is written out. */
const fileName = (commonName: string): string =>
  commonName
    .replaceAll("*", "wildcard")
    .replace(/[^\w.-]/g, "_")
    .slice(0, 200) || "certificate"

const attachment = (type: string, name: string) => ({
  "content-type": type,
  "content-disposition": `attachment; filename="${name}"`,
})

export const revocationRoom = (deps: ConsoleDeps) => {
  const { bulk, certificates, exports, inventory, revocations } = deps

  const subjectOf = async (id: string) => {
    const { commonName } = await certificates.get(id)
    return { id, commonName, targets: (await inventory.placesOf([id])).get(id) ?? [] }
  }

  const ask = async (
    c: PageContext,
    question: Question,
    up: { label: string; href: string },
    status: 200 | 400 = 200,
  ) => page(c, confirmPage(await frameOf(deps, c), question, up), status)

  /** The certificates whose boxes were ticked; null where none was. */
  const selection = async (form: Awaited<ReturnType<typeof formOf>>) => {
    const ids = [...new Set(form.texts("ids"))].slice(0, mostSelected)
    if (ids.length === 0) return null
    const { rows } = await certificates.list({ ids }, null, { limit: mostSelected, offset: 0 })
    return rows.length === 0 ? null : rows.map(({ id, commonName }) => ({ id, commonName }))
  }
  const idsOf = (selected: readonly { id: string }[]): string[] => selected.map(({ id }) => id)

  const up = { label: "Certificates", href: "/certificates" }
  const backToList = (c: PageContext) => redirect(c, up.href)

  return (
    new Hono<ApiEnv>()
      .get("/certificates/:id/revoke", async (c) => {
        allow(c, "operator")
        const subject = await subjectOf(c.req.param("id"))
        return ask(c, revokeQuestion(subject), { label: subject.commonName, href: `/certificates/${subject.id}` })
      })
      .post("/certificates/:id/revoke", async (c) => {
        allow(c, "operator")
        const id = c.req.param("id")
        const form = await formOf(c)
        const subject = await subjectOf(id)
        if (form.text("confirm") !== subject.commonName) {
          const error = `Type ${subject.commonName} to confirm`
          const link = { label: subject.commonName, href: `/certificates/${id}` }
          return ask(c, { ...revokeQuestion(subject, form.text("reason")), error }, link, 400)
        }
        const { reason } = await parseInput(RevokeBody, { reason: form.text("reason") }, "form")
        await revocations.revoke(id, { reason, actor: c.get("actor") })
        return redirect(c, `/certificates/${id}`, { key: "certificate-revoked" })
      })
      .get("/certificates/:id/export.pem", async (c) => {
        const { commonName, fullPem } = await exports.pem(c.req.param("id"), c.get("actor"))
        return c.body(fullPem, 200, attachment("application/x-pem-file", `${fileName(commonName)}.pem`))
      })
      .get("/certificates/:id/export.p12", async (c) => {
        allow(c, "operator")
        const subject = await subjectOf(c.req.param("id"))
        return ask(c, pkcs12Question(subject), { label: subject.commonName, href: `/certificates/${subject.id}` })
      })
      .post("/certificates/:id/export.p12", async (c) => {
        allow(c, "operator")
        // Blanks at its ends belong to a password.
        const password = (await formOf(c)).texts("password")[0] ?? ""
        const { commonName, file } = await exports.pkcs12(c.req.param("id"), password, c.get("actor"))
        return c.body(new Uint8Array(file), 200, attachment("application/x-pkcs12", `${fileName(commonName)}.p12`))
      })

      // A page that was reached by a form and is loaded again as an address has nothing to show.
      .get("/certificates/bulk-renew", backToList)
      .get("/certificates/bulk-revoke", backToList)
      .get("/certificates/bulk-reassign", backToList)
      .post("/certificates/bulk-renew", async (c) => {
        allow(c, "operator")
        const back = pageBefore(c, undefined, up.href)
        const selected = await selection(await formOf(c))
        if (selected === null) return redirect(c, back, { key: "nothing-selected" })
        const { failures } = await bulk.renew({ certificateIds: idsOf(selected) }, c.get("actor"))
        return redirect(c, back, { key: failures.length === 0 ? "renewals-started" : "not-all-done" })
      })
      .post("/certificates/bulk-revoke", async (c) => {
        allow(c, "admin")
        const form = await formOf(c)
        const selected = await selection(form)
        if (selected === null) return redirect(c, pageBefore(c, undefined, up.href), { key: "nothing-selected" })
        const question = bulkRevokeQuestion(selected)
        if (form.text("step") !== "answered") return ask(c, question, up)
        if (form.text("confirm") !== question.typeToConfirm) {
          return ask(c, { ...question, error: `Type ${question.typeToConfirm} to confirm` }, up, 400)
        }
        const { reason } = await parseInput(RevokeBody, { reason: form.text("reason") }, "form")
        const criteria = { certificateIds: idsOf(selected) }
        const { failures } = await bulk.revoke(criteria, { reason, actor: c.get("actor") })
        return redirect(c, up.href, { key: failures.length === 0 ? "certificates-revoked" : "not-all-done" })
      })
      .post("/certificates/bulk-reassign", async (c) => {
        allow(c, "operator")
        const form = await formOf(c)
        const selected = await selection(form)
        if (selected === null) return redirect(c, pageBefore(c, undefined, up.href), { key: "nothing-selected" })
        const choices = await inventory.choices()
        const options = (rows: readonly { id: string; name: string }[]) =>
          rows.map(({ id, name }) => ({ value: id, label: name }))
        const question = bulkReassignQuestion(selected, {
          owners: options(choices.owners),
          teams: options(choices.teams),
        })
        const ownerId = form.text("owner_id")
        if (form.text("step") !== "answered") return ask(c, question, up)
        if (ownerId === "") return ask(c, { ...question, error: "Choose an owner" }, up, 400)
        try {
          const teamId = form.text("team_id") || undefined
          const { failures } = await bulk.reassign({ certificateIds: idsOf(selected), ownerId, teamId }, c.get("actor"))
          return redirect(c, up.href, { key: failures.length === 0 ? "certificates-reassigned" : "not-all-done" })
        } catch (error) {
          if (!(error instanceof AppError) || error.code !== "bad_reference") throw error
          return ask(c, { ...question, error: "That owner or team is gone: choose another one" }, up, 400)
        }
      })
  )
}
