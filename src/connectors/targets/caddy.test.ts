/** The Caddy target against a real Caddy: by files with a reload, and by the admin API. */
import { afterAll, beforeAll, describe, expect, setDefaultTimeout, test } from "bun:test"
import { mkdirSync, readFileSync, writeFileSync } from "node:fs"
import { createServer } from "node:http"
import type { AddressInfo } from "node:net"
import { testLeaf } from "../../../agent/agent-server.fake"
import { type Deployable, deploying, testTargetDeps } from "../../testing/deploying"
import { fileTargetScenarios } from "../../testing/file-target-scenarios"
import { freePort } from "../../testing/free-port"
import { caddyApiProduct, caddyProduct, runCaddy } from "../../testing/products/caddy.product"
import { type Peer, serverName } from "../../testing/products/product"
import { type RunningPeer, startPeer } from "../../testing/products/running-peer"
import { openStage, type Stage } from "../../testing/stage"
import { until } from "../../testing/until"
import { caddy } from "./caddy"

// Real processes and sockets: slow machines are slow, not wrong.
setDefaultTimeout(60_000)

const { program } = caddyProduct

fileTargetScenarios(caddyProduct)

describe.skipIf(program === null)("Caddy's admin API", () => {
  let site: RunningPeer<Peer>
  let stage: Stage
  let adminUrl: string
  const leaf = () => site.leaf()
  const served = () => site.served()
  /** The listener of before a change may take a last connection, so it is a matter of waiting. */
  const serves = (fingerprint: string) => site.serves(fingerprint)

  const config = (extra: Record<string, unknown> = {}) => ({ ...site.peer.config, ...extra })
  const agent = () => deploying(stage.at("agent"))
  const deploy = async (
    deployed: Deployable,
    extra: Record<string, unknown> = {},
    material: { keyPem?: string; certificateId?: string } = {},
  ) => agent().deploy(caddy, config(extra), deployed, site.authority.certPem, material)
  const admin = async (path: string, init: RequestInit = {}) => {
    const answer = await fetch(`${adminUrl}/config/${path}`, {
      ...init,
      headers: { "content-type": "application/json" },
    })
    return JSON.parse((await answer.text()) || "null")
  }
  const entries = (): Promise<{ certificate: string; tags?: string[] }[]> => admin("apps/tls/certificates/load_pem")

  beforeAll(async () => {
    stage = openStage()
    site = await startPeer(stage, caddyApiProduct)
    adminUrl = String(site.peer.config.admin_api)
  })
  afterAll(() => stage?.end())

  test("takes the first certificate whatever part of the configuration is missing", async () => {
    const setUps: [path: string, value: unknown][] = [
      ["apps/tls", undefined],
      ["apps/tls", {}],
      ["apps/tls", { certificates: {} }],
      ["apps/tls", { certificates: { load_pem: [] } }],
    ]
    for (const [path, value] of setUps) {
      await admin(path, { method: "DELETE" })
      if (value !== undefined) await admin(path, { method: "PUT", body: JSON.stringify(value) })
      const next = await leaf()
      expect((await deploy(next)).isIdempotent).toBe(false)
      await serves(next.fingerprint)
      expect((await entries()).map(({ tags }) => tags)).toEqual([["certctl:mc-site"]])
      expect((await deploy(next)).isIdempotent).toBe(true)
    }
  })

  test("takes the first certificate where nothing but its API is configured", async () => {
    const barePort = await freePort()
    const admin_api = `http://127.0.0.1:${barePort}`
    writeFileSync(stage.at("bare.json"), JSON.stringify({ admin: { listen: `127.0.0.1:${barePort}` } }))
    const bare = runCaddy(stage, program ?? "", stage.at("bare.json"))
    const target = caddy.open({ admin_api }, testTargetDeps(stage.at("agent")))
    const answers = async () => {
      await target.check?.()
      return true
    }
    await until("it answers", () => answers().catch(() => false))
    for (let round = 0; round < 2; round++) await deploy(await leaf(), { admin_api, verify_host: "" })
    const { apps } = (await (await fetch(`${admin_api}/config/`)).json()) as { apps: unknown }
    expect(apps).toEqual({
      tls: { certificates: { load_pem: [expect.objectContaining({ tags: ["certctl:mc-site"] })] } },
    })
    await bare.stop()
  })

  test("gets a renewal in the place of its own entry, and other entries stay as they are", async () => {
    const other = await testLeaf(site.authority, ["other.example"])
    const foreign = { certificate: other.certPem, key: other.keyPem, tags: ["by hand"] }
    await admin("apps/tls/certificates/load_pem", { method: "POST", body: JSON.stringify(foreign) })
    const next = await leaf()
    await deploy(next)
    await serves(next.fingerprint)
    expect((await entries()).map(({ tags }) => tags)).toEqual([["certctl:mc-site"], ["by hand"]])
    await deploy(other, { verify_server_name: "other.example" }, { certificateId: "mc-other" }).catch(() => undefined)
    expect((await entries()).map(({ tags }) => tags?.[0]).slice(0, 2)).toEqual(["certctl:mc-site", "by hand"])
  })

  test("shows every connection that it takes a whole pair while certificates are renewed", async () => {
    await deploy(await leaf())
    let isOver = false
    let requests = 0
    const failures: string[] = []
    const load = (async () => {
      while (!isOver) {
        const failure = await fetch(`https://127.0.0.1:${site.stage.port}/`, {
          keepalive: false,
          headers: { host: serverName },
          tls: { rejectUnauthorized: false, serverName },
        }).then(({ status }) => (status === 200 ? null : `status ${status}`), String)
        requests++
        if (failure !== null) failures.push(failure)
      }
    })()
    for (let round = 0; round < 4; round++) await deploy(await leaf())
    isOver = true
    await load
    expect(requests).toBeGreaterThan(failures.length + 5)
    // See `mayReset`.
    expect(failures.filter((words) => !/ECONNRESET/.test(words))).toEqual([])
  })

  test("that refuses keeps what it had; its words are in the error, the key is not", async () => {
    const before = { fingerprint: await served(), entries: await entries() }
    const [next, other] = [await leaf(), await leaf()]
    const failure = await deploy(next, {}, { keyPem: other.keyPem }).then(() => "nothing", String)
    expect(failure).toMatch(/loading the certificate into Caddy failed: .*private key does not match public key/)
    expect(failure).not.toContain("PRIVATE KEY")
    await serves(before.fingerprint)
    expect(await entries()).toEqual(before.entries)
  })

  test("has the entry of before back when something else is served", async () => {
    const before = { fingerprint: await served(), entries: await entries() }
    const unproven = { verify_server_name: "other.example", post_deploy_verify_attempts: 1 }
    await expect(deploy(await leaf(), unproven)).rejects.toThrow(
      /the proof on the wire failed: .*; it was taken back \(loading the certificate into Caddy undone\)/,
    )
    await serves(before.fingerprint)
    expect(await entries()).toEqual(before.entries)
    await expect(deploy(await leaf(), unproven, { certificateId: "mc-new" })).rejects.toThrow(
      "the proof on the wire failed",
    )
    await serves(before.fingerprint)
    expect(await entries()).toEqual(before.entries)
  })

  test("that was left half-way by a killed agent gets the next certificate in the same place", async () => {
    const half = await leaf()
    const plan = await caddy.open(config(), agent().deps).plan({
      certificateId: "mc-site",
      jobId: "job-1",
      certPem: half.certPem,
      chainPem: site.authority.certPem,
      keyPem: half.keyPem,
    })
    const [step] = plan.steps
    if (step?.kind === "action") await step.run()
    const count = (await entries()).length
    const next = await leaf()
    await deploy(next)
    await serves(next.fingerprint)
    expect(await entries()).toHaveLength(count)
  })

  test("ends with one entry when two are deployed at once", async () => {
    const leaves = [await leaf(), await leaf()]
    await admin("apps/tls", { method: "DELETE" })
    await Promise.allSettled(leaves.map((next) => deploy(next, { post_deploy_verify: { enabled: false } })))
    expect(await entries()).toHaveLength(1)
    expect(leaves.map(({ fingerprint }) => fingerprint)).toContain(await served())
  })

  test("that cannot be reached is replaced by files where there is a folder, with a warning", async () => {
    const dead = { admin_api: `http://127.0.0.1:${await freePort()}`, verify_host: "" }
    await expect(deploy(await leaf(), dead)).rejects.toThrow("Caddy's admin API at http://127.0.0.1")
    mkdirSync(stage.at("files"))
    const { deps, warnings, deploy: send } = agent()
    const next = await leaf()
    await send(caddy, config({ ...dead, cert_dir: stage.at("files") }), next, site.authority.certPem)
    expect(readFileSync(stage.at("files/cert.pem"), "utf8")).toBe(next.certPem + site.authority.certPem)
    expect(warnings).toEqual([expect.stringContaining("method=file")])
    await expect(caddy.open(config(dead), deps).check?.()).rejects.toThrow("admin API")
    await caddy.open(config({ ...dead, cert_dir: stage.at("files") }), deps).check?.()
    await caddy.open(config(), deps).check?.()
  })
})

describe("an admin API", () => {
  const serverSaying = async (answer: (method: string, path: string) => [number, unknown, string?]) => {
    const seen: [method: string, path: string, ifMatch: string | undefined][] = []
    const server = createServer((request, response) => {
      seen.push([request.method ?? "", request.url ?? "", request.headers["if-match"]])
      request.resume().on("end", () => {
        const [status, body, etag] = answer(request.method ?? "", request.url ?? "")
        response.writeHead(status, etag === undefined ? {} : { trailer: "etag" })
        response.write(JSON.stringify(body))
        if (etag !== undefined) response.addTrailers({ etag })
        response.end()
      })
    })
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve))
    const { port } = server.address() as AddressInfo
    return { seen, url: `http://127.0.0.1:${port}`, close: () => server.close() }
  }
  const plan = (admin_api: string) =>
    caddy
      .open({ admin_api }, testTargetDeps("/nonexistent"))
      .plan({ certificateId: "mc", jobId: "j", certPem: "L\n", chainPem: "C\n", keyPem: "K\n" })
  const load = async (url: string) => {
    const [step] = (await plan(url)).steps
    if (step?.kind === "action") await step.run()
  }

  test("whose configuration others change meanwhile is read anew three times, then it is an error", async () => {
    const server = await serverSaying((method) => (method === "GET" ? [200, [], '"/x 1"'] : [412, { error: "stale" }]))
    await expect(load(server.url)).rejects.toThrow("changed by others each of 3 times")
    expect(server.seen.filter(([method]) => method === "POST").map(([, , ifMatch]) => ifMatch)).toEqual(
      Array(3).fill('"/x 1"'),
    )
    server.close()
  })

  test("without ETags is changed all the same", async () => {
    const server = await serverSaying((method) => (method === "GET" ? [200, []] : [200, null]))
    await load(server.url)
    expect(server.seen.at(-1)).toEqual(["POST", "/config/apps/tls/certificates/load_pem", undefined])
    server.close()
  })

  test("that repeats the key in its answer does not get it into an error", async () => {
    const key = "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n"
    const server = await serverSaying((method) =>
      method === "GET" ? [200, []] : [400, { error: `cannot parse ${key} in it` }],
    )
    await expect(load(server.url)).rejects.toThrow("status 400: cannot parse (key)")
    server.close()
  })

  test("that answers something else is not taken for one", async () => {
    for (const answer of [
      [403, { error: "host not allowed" }],
      [200, { not: "a list" }],
      [404, {}],
      [302, {}],
    ] as const) {
      const server = await serverSaying(() => [...answer])
      await expect(load(server.url)).rejects.toThrow(/Caddy|changed by others/)
      server.close()
    }
  })
})
