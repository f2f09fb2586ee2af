import { describe, expect, test } from "bun:test"
import fc from "fast-check"
import type { Db } from "../db/db"
import { viewerActor } from "../testing/api"
import { onEachDialect } from "../testing/on-each-dialect"
import { resourceApi, serviceParts } from "../testing/resource-api"
import { insertCertificate } from "../testing/rows"
import { renewalPolicyRoutes } from "./renewal-policy.routes"
import { policySlug, renewalPolicyService } from "./renewal-policy.service"
import { renewalPolicyStore } from "./renewal-policy.store"

const setUp = (db: Db, actor?: Parameters<typeof resourceApi>[2]) => {
  const parts = serviceParts(db)
  const changed: string[] = []
  const policies = renewalPolicyService({
    ...parts,
    policies: renewalPolicyStore(db),
    async onPolicyChanged(_tx, id) {
      changed.push(id)
    },
  })
  return { ...parts, changed, send: resourceApi("renewal-policies", renewalPolicyRoutes(policies), actor) }
}

onEachDialect("renewal policies", (openDb) => {
  test("take their id from the name and everything else from the defaults", async () => {
    const { send, actionsOn } = setUp(await openDb())
    const { status, body } = await send("POST", "", { name: "Every 30 Days!" })
    expect(status).toBe(201)
    expect(body).toEqual({
      id: "rp-every-30-days",
      name: "Every 30 Days!",
      renewal_window_days: 30,
      auto_renew: true,
      max_retries: 3,
      retry_interval_seconds: 3600,
      alert_thresholds_days: [30, 14, 7, 0],
      created_at: body.created_at,
      updated_at: body.updated_at,
    })
    expect((await send("POST", "", { name: "every 30 days" })).body.id).toBe("rp-every-30-days-2")
    expect(await actionsOn("rp-every-30-days")).toEqual(["create_renewal_policy"])
  })

  test("send a version to one target first, unless they are told otherwise", async () => {
    const { send } = setUp(await openDb())
    expect((await send("POST", "", { id: "rp-a", name: "a", rollout: "all_at_once" })).body.rollout).toBe("all_at_once")
    expect((await send("PUT", "/rp-a", { name: "b" })).body.rollout).toBe("all_at_once")
    expect((await send("PUT", "/rp-a", { rollout: "one_first" })).body.rollout).toBeUndefined()
    expect((await send("PUT", "/rp-a", { rollout: "some" })).status).toBe(400)
  })

  test("keep what a change does not name, and honour an explicit false and zero", async () => {
    const { send } = setUp(await openDb())
    await send("POST", "", { id: "rp-a", name: "a", alert_channels: { critical: ["Email"] } })
    const answer = await send("PUT", "/rp-a", { auto_renew: false, max_retries: 0, alert_thresholds_days: [7, 30, 7] })
    expect(answer).toMatchObject({
      status: 200,
      body: {
        name: "a",
        auto_renew: false,
        max_retries: 0,
        alert_thresholds_days: [30, 7],
        alert_channels: { critical: ["Email"] },
      },
    })
    expect((await send("GET", "/rp-a")).body).toEqual(answer.body)
  })

  test("are listed by name", async () => {
    const { send } = setUp(await openDb())
    for (const name of ["b", "c", "a"]) await send("POST", "", { name })
    const { body } = await send("GET", "?per_page=2")
    expect(body).toMatchObject({ total: 3, data: [{ name: "a" }, { name: "b" }] })
  })

  test("tell when their certificates may be due at another time", async () => {
    const { send, changed } = setUp(await openDb())
    await send("POST", "", { id: "rp-a", name: "a", renewal_window_days: 20 })
    await send("PUT", "/rp-a", { name: "renamed" })
    await send("PUT", "/rp-a", { renewal_window_days: 20 })
    expect(changed).toEqual([])
    await send("PUT", "/rp-a", { renewal_window_days: 10 })
    expect(changed).toEqual(["rp-a"])
  })

  test("have unique names and stay while certificates use them", async () => {
    const db = await openDb()
    const { send } = setUp(db)
    await send("POST", "", { id: "rp-a", name: "a" })
    await send("POST", "", { id: "rp-b", name: "b" })
    expect((await send("POST", "", { name: "a" })).status).toBe(409)
    expect((await send("POST", "", { id: "rp-a", name: "c" })).status).toBe(409)
    expect((await send("PUT", "/rp-b", { name: "a" })).status).toBe(409)
    const { renewalPolicyId } = await insertCertificate(db)
    expect((await send("DELETE", `/${renewalPolicyId}`)).status).toBe(409)
    expect((await send("DELETE", "/rp-b")).status).toBe(204)
    expect((await send("DELETE", "/rp-b")).status).toBe(404)
    expect((await send("GET", "/rp-b")).status).toBe(404)
    expect((await send("PUT", "/rp-b", {})).status).toBe(404)
  })

  test.each([
    [{ renewal_window_days: 0 }, "renewal_window_days must be at least 1"],
    [{ renewal_window_days: 366 }, "renewal_window_days must be at most 365"],
    [{ renewal_window_days: 1.5 }, "renewal_window_days must be a whole number"],
    [{ max_retries: 11 }, "max_retries must be at most 10"],
    [{ retry_interval_seconds: 59 }, "retry_interval_seconds must be at least 60"],
    [{ alert_thresholds_days: [400] }, "alert_thresholds_days[0] must be at most 365"],
    [{ alert_severity_map: { soon: "critical" } }, "alert_severity_map.soon must be days between 0 and 365"],
    [{ agent_group_id: "ag-none" }, "agent_group_id must be the id of an existing agent group; there is no ag-none"],
  ])("refuse %j", async (settings, message) => {
    const { send } = setUp(await openDb())
    expect(await send("POST", "", { name: "x", ...settings })).toMatchObject({ status: 400, body: { message } })
  })

  test("are written by operators only", async () => {
    const { send } = setUp(await openDb(), viewerActor)
    expect((await send("POST", "", { name: "x" })).status).toBe(403)
  })
})

describe("the id made from a name", () => {
  test("falls back to a word when nothing is left", () => expect(policySlug("日本")).toBe("rp-policy"))

  test("is always a short word of plain characters that begins and ends with no dash", () => {
    fc.assert(
      fc.property(fc.string({ maxLength: 255 }), (name) => {
        const slug = policySlug(name)
        expect(slug).toMatch(/^rp-[a-z0-9]([a-z0-9-]*[a-z0-9])?$/)
        expect(slug.length).toBeLessThanOrEqual(67)
      }),
    )
  })
})
