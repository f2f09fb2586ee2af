import { expect, test } from "bun:test"
import type { Actor } from "../../src/access/actor"
import { openConsole } from "../../src/testing/console"
import { onEachDialect } from "../../src/testing/on-each-dialect"
import { insertCertificate } from "../../src/testing/rows"

const anna: Actor = { name: "anna", type: "User", role: "operator" }

onEachDialect("the approval pages", (openDb) => {
  const open = async (requester: Actor = anna) => {
    const db = await openDb()
    const stage = await openConsole(db)
    const at = stage.clock.now()
    await db.transaction(async (tx) => {
      await tx.insert(db.t.certificateProfiles).values({
        ...{ id: "prof-1", name: "two-person", requiresApproval: true, createdAt: at, updatedAt: at },
        ...{ allowedKeyAlgorithms: [], allowedEkus: [], requiredSanPatterns: [], requiredCsrAttributes: [] },
      })
    })
    await insertCertificate(db, { id: "mc-1", commonName: "pay.example.com", certificateProfileId: "prof-1" })
    const { jobId } = await stage.services.renewals.trigger("mc-1", { force: false }, requester)
    const request = await stage.services.approvals.pendingOf(jobId)
    if (request === null) throw new Error("nothing was asked for")
    return {
      ...stage,
      jobId,
      id: request.id,
      state: async () => (await stage.services.approvals.get(request.id)).state,
    }
  }

  test("show what is asked for by whom, wherever it waits, and let another person decide with a note", async () => {
    const { visitor, id, jobId, services, state } = await open()
    const operator = await visitor("operator")
    for (const path of ["/approvals", `/approvals/${id}`, `/jobs/${jobId}`, "/certificates/mc-1"]) {
      const { status, text } = await operator.get(path)
      expect([path, status]).toEqual([path, 200])
      expect(text).toContain(`href="/approvals/${id}/approve"`)
      expect(text).toContain("anna")
    }
    expect((await operator.get("/")).text).toContain("1 job awaits approval")
    expect((await operator.get(`/approvals/${id}/approve`)).text).toContain("Approve pay.example.com?")
    expect(await operator.post(`/approvals/${id}/approve`, { note: "change 4711" })).toMatchObject({
      status: 303,
      location: "/approvals?notice=request-approved",
    })
    expect(await services.approvals.get(id)).toMatchObject({ state: "approved", decisionNote: "change 4711" })
    expect((await services.jobs.get(jobId)).status).toBe("Pending")
    expect((await operator.get("/approvals")).text).toContain("Nothing waits for approval")
    expect((await operator.get("/approvals?state=approved")).text).toContain("change 4711")
    // Somebody whose page is old is shown how it stands now.
    expect(await operator.post(`/approvals/${id}/reject`)).toMatchObject({
      status: 303,
      location: `/approvals/${id}?notice=not-possible`,
    })
    expect(await state()).toBe("approved")
  })

  test("say to who asked why they cannot decide, and leave them to cancel the job", async () => {
    const { visitor, id, jobId, state } = await open({ ...anna, name: "visitor-operator" })
    const operator = await visitor("operator")
    for (const path of [`/approvals/${id}`, `/jobs/${jobId}`, "/certificates/mc-1"]) {
      const { text } = await operator.get(path)
      expect(text).toContain("you asked for this yourself")
      expect(text).not.toContain(`/approvals/${id}/approve`)
    }
    expect((await operator.get("/approvals")).text).toContain("asked by you")
    expect((await operator.post(`/approvals/${id}/approve`)).status).toBe(403)
    expect((await operator.post(`/jobs/${jobId}/cancel`)).status).toBe(303)
    expect(await state()).toBe("expired")
  })

  test("offer a viewer nothing and refuse what is sent regardless", async () => {
    const { visitor, id, state } = await open()
    const viewer = await visitor("viewer")
    const { text } = await viewer.get(`/approvals/${id}`)
    expect(text).toContain("Your role may only read.")
    for (const verb of ["approve", "reject"]) {
      expect(text).not.toContain(`/approvals/${id}/${verb}`)
      expect((await viewer.get(`/approvals/${id}/${verb}`)).status).toBe(403)
      expect((await viewer.post(`/approvals/${id}/${verb}`)).status).toBe(403)
    }
    expect(await state()).toBe("pending")
    expect((await viewer.get("/approvals/ar-0")).status).toBe(404)
  })
})
