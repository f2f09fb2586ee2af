import { expect, test } from "bun:test"
import { openConsole } from "../../src/testing/console"
import { onEachDialect } from "../../src/testing/on-each-dialect"
import { insertAgent, insertCertificate, mapTarget } from "../../src/testing/rows"

onEachDialect("the pages of issuers and targets", (openDb) => {
  const open = async () => {
    const db = await openDb()
    return { db, ...(await openConsole(db)) }
  }
  const idOf = (location: string): string => location.split("?")[0]?.split("/").at(-1) ?? ""

  test("an issuer is made from its connector's fields, tested, turned off and deleted", async () => {
    const { visitor, services } = await open()
    const admin = await visitor("admin")
    expect((await admin.get("/issuers/new")).text).toContain("/issuers/new?type=GenericCA")
    const form = await admin.get("/issuers/new?type=GenericCA")
    for (const label of ["CA common name", "Validity in days", "CA key file"]) expect(form.text).toContain(label)

    const refused = await admin.post("/issuers/new", {
      type: "GenericCA",
      name: "ours",
      "config.validity_days": "99999",
    })
    expect(refused.status).toBe(400)
    expect(refused.text).toContain('id="config-validity_days-error"')
    expect(refused.text).toContain("99999")

    const made = await admin.post("/issuers/new", {
      type: "GenericCA",
      name: "ours",
      enabled: "true",
      "config.ca_common_name": "Our root",
      "config.validity_days": "30",
      "config.crl_distribution_point_urls": "http://crl.example/a\nhttp://crl.example/b",
    })
    const id = idOf(made.location)
    expect((await services.issuers.get(id)).config).toEqual({
      ca_common_name: "Our root",
      validity_days: 30,
      crl_distribution_point_urls: ["http://crl.example/a", "http://crl.example/b"],
    })
    expect((await admin.get(`/issuers/${id}`)).text).toContain("Our root")
    expect((await admin.post(`/issuers/${id}/test`)).location).toContain("notice=connection-good")
    await admin.post(`/issuers/${id}/disable`)
    expect((await services.issuers.get(id)).enabled).toBe(false)
    await admin.post(`/issuers/${id}/delete`)
    expect((await admin.get(`/issuers/${id}`)).status).toBe(404)
  })

  test("what is masked keeps its stored value, and no page shows it", async () => {
    const { visitor, services } = await open()
    const admin = await visitor("admin")
    const secretPath = "/etc/ca/hidden-place.key"
    const made = await admin.post("/issuers/new", {
      type: "GenericCA",
      name: "sub",
      enabled: "true",
      "config.ca_cert_path": "/etc/ca/ca.pem",
      "config.ca_key_path": secretPath,
    })
    const id = idOf(made.location)
    for (const path of ["/issuers", `/issuers/${id}`, `/issuers/${id}/edit`]) {
      expect((await admin.get(path)).text).not.toContain(secretPath)
    }
    const saved = await admin.post(`/issuers/${id}/edit`, {
      name: "sub two",
      enabled: "true",
      "config.ca_cert_path": "/etc/ca/ca.pem",
      "config.ca_key_path": "********",
    })
    expect(saved.location).toContain("notice=saved")
    const failed = await admin.post(`/issuers/${id}/test`)
    expect(failed.status).toBe(200)
    // The connector was given the stored path, and its words say so.
    expect(failed.text).toContain("The test failed")
    expect((await services.issuers.get(id)).testStatus).toBe("failed")
  })

  test("an issuer that certificates name stays", async () => {
    const { db, visitor } = await open()
    await insertCertificate(db)
    const refused = await (await visitor("admin")).post("/issuers/iss-1/delete")
    expect(refused.status).toBe(409)
    expect(refused.text).toContain("still used by certificates")
  })

  test("only administrators change issuers; operators test them, viewers look", async () => {
    const { db, visitor } = await open()
    await insertCertificate(db)
    const operator = await visitor("operator")
    const page = await operator.get("/issuers/iss-1")
    expect(page.text).toContain("/issuers/iss-1/test")
    expect(page.text).not.toContain("/issuers/iss-1/edit")
    const viewer = await visitor("viewer")
    expect((await viewer.get("/issuers/iss-1")).text).not.toContain("/issuers/iss-1/test")
    expect((await viewer.post("/issuers/iss-1/test")).status).toBe(403)
    for (const path of ["/issuers/new", "/issuers/iss-1/edit", "/issuers/iss-1/delete", "/issuers/iss-1/disable"]) {
      expect(`${path} ${(await operator.post(path)).status}`).toBe(`${path} 403`)
    }
  })

  test("a target is made, shown with what goes there, tested and changed without losing keys that its form lacks", async () => {
    const { db, visitor, services } = await open()
    await insertAgent(db, { id: "agent-1", name: "edge-1" })
    const certificate = await insertCertificate(db, { commonName: "shop.example.com" })
    const operator = await visitor("operator")
    const refused = await operator.post("/targets/new", {
      type: "NGINX",
      name: "shop nginx",
      agent_id: "agent-1",
      "config.cert_path": "relative.pem",
      "config.post_deploy_verify": "{ not json",
    })
    expect(refused.status).toBe(400)
    expect(refused.text).toContain('id="config-post_deploy_verify-error"')
    expect(refused.text).toContain("relative.pem")

    const made = await operator.post("/targets/new", {
      type: "NGINX",
      name: "shop nginx",
      agent_id: "agent-1",
      enabled: "true",
      "config.cert_path": "/etc/nginx/shop.pem",
      "config.verify_port": "8443",
      "config.post_deploy_verify": '{"endpoint":"shop.example.com:443"}',
    })
    const id = idOf(made.location)
    const expected = {
      cert_path: "/etc/nginx/shop.pem",
      verify_port: 8443,
      post_deploy_verify: { endpoint: "shop.example.com:443" },
    }
    expect((await services.targets.whole(id)).config).toEqual(expected)
    await mapTarget(db, certificate.id, id)
    const page = await operator.get(`/targets/${id}`)
    for (const words of ["shop.example.com", "edge-1", "/etc/nginx/shop.pem"]) expect(page.text).toContain(words)

    const tested = await operator.post(`/targets/${id}/test`)
    expect(tested.text).toContain("has never been heard of")

    await services.targets.update(
      id,
      { config: { ...expected, host: "10.0.0.1" } },
      { name: "x", type: "User", role: "admin" },
    )
    await operator.post(`/targets/${id}/edit`, {
      name: "shop nginx two",
      agent_id: "agent-1",
      enabled: "true",
      "config.cert_path": "/etc/nginx/shop.pem",
    })
    expect((await services.targets.whole(id)).config).toEqual({ cert_path: "/etc/nginx/shop.pem", host: "10.0.0.1" })
    expect((await operator.get(`/targets/${id}/delete`)).text).toContain("Nothing is deployed there any more")
    await operator.post(`/targets/${id}/delete`)
    expect((await operator.get("/targets")).text).toContain("No targets yet")
  })

  test("a viewer changes no target", async () => {
    const { db, visitor } = await open()
    await insertAgent(db, { id: "agent-1", name: "edge-1" })
    await (await visitor("operator")).post("/targets/new", {
      type: "NGINX",
      name: "shop",
      agent_id: "agent-1",
      "config.cert_path": "/etc/nginx/shop.pem",
    })
    const viewer = await visitor("viewer")
    const { text } = await viewer.get("/targets")
    expect(text).toContain("shop")
    for (const word of ["/edit", "/test", "/targets/new"]) expect(text).not.toContain(word)
    for (const path of [
      "/targets/new",
      "/targets/x/edit",
      "/targets/x/delete",
      "/targets/x/test",
      "/targets/x/enable",
    ]) {
      expect(`${path} ${(await viewer.post(path)).status}`).toBe(`${path} 403`)
    }
  })
})
