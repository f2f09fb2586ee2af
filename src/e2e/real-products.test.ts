/**
 * The products themselves beside one another, all served by one compiled server and one compiled agent: first deployment, renewal
 * under load, a check of each, a refusal in the product's own words and what comes after it is mended.
 */
import { afterAll, beforeAll, describe, expect, setDefaultTimeout, test } from "bun:test"
import { chmodSync, readdirSync } from "node:fs"
import { join } from "node:path"
import { type AgentProcess, joinedAgent } from "../testing/agent-process"
import { certificateFields, createOwnership, versionsOf } from "../testing/inventory"
import { apacheProduct } from "../testing/products/apache.product"
import { caddyApiProduct, caddyProduct } from "../testing/products/caddy.product"
import { envoyProduct } from "../testing/products/envoy.product"
import { haproxyProduct } from "../testing/products/haproxy.product"
import { javaServerProducts } from "../testing/products/java-server.product"
import { dovecotProduct, postfixProduct } from "../testing/products/mail-server.product"
import { nginxProduct } from "../testing/products/nginx.product"
import { nameOf, type Peer, type PeerProduct, serverName } from "../testing/products/product"
import { isExcused, type RunningPeer, startPeer } from "../testing/products/running-peer"
import { sshNginxProduct } from "../testing/products/ssh-nginx.product"
import { traefikProduct } from "../testing/products/traefik.product"
import { type Runner, runner } from "../testing/runner"
import { type Body, type ServerProcess, serverProcess } from "../testing/server-process"
import { executable, openStage, type Stage, within } from "../testing/stage"
import { until } from "../testing/until"

// Real processes and sockets: slow machines are slow, not wrong.
setDefaultTimeout(180_000)

const products: readonly PeerProduct[] = [
  nginxProduct,
  apacheProduct,
  haproxyProduct,
  caddyProduct,
  caddyApiProduct,
  postfixProduct,
  dovecotProduct,
  sshNginxProduct,
  ...javaServerProducts,
  envoyProduct,
  traefikProduct,
].filter(({ program }) => program !== null)

interface Site {
  readonly name: string
  readonly product: PeerProduct
  readonly running: RunningPeer<Peer>
  readonly targetId: string
  readonly certificateId: string
}

/** One value for each site, by its name: a failed expectation shows which product it was. */
const byName = async <T>(sites: readonly Site[], ask: (site: Site) => T | Promise<T>): Promise<Record<string, T>> =>
  Object.fromEntries(await Promise.all(sites.map(async (site) => [site.name, await ask(site)] as const)))

/** The most that were under way at one moment. */
const mostAtOnce = (jobs: readonly Body[]): number =>
  Math.max(
    ...jobs.map(
      ({ started_at: begin }) => jobs.filter((other) => other.started_at <= begin && begin < other.completed_at).length,
    ),
  )

describe.skipIf(products.length === 0)("one server and one agent", () => {
  let stage: Stage
  let server: ServerProcess
  let agent: AgentProcess
  let run: Runner
  let sites: readonly Site[]

  const newest = async ({ certificateId }: Site): Promise<string> =>
    (await versionsOf(server, certificateId))[0].fingerprint_sha256

  const deployments = async (): Promise<Body[]> => (await server.get("/api/v1/jobs?type=Deployment&per_page=500")).data

  /** Has `begin` called for each of the sites, and resolves with the deployment of each that comes of it, once it is over. */
  const deployed = async (of: readonly Site[], begin: (site: Site) => Promise<unknown>): Promise<Map<Site, Body>> => {
    const known = new Set((await deployments()).map(({ id }) => id))
    await Promise.all(of.map(begin))
    const over = new Map<Site, Body>()
    await until(
      "all deployments are over",
      async () => {
        const jobs = await deployments()
        for (const site of of) {
          const job = jobs.find(({ id, target_id }) => target_id === site.targetId && !known.has(id))
          const isVerified = job?.status === "Completed" && job.verification_status !== "pending"
          if (isVerified || job?.status === "Failed") over.set(site, job)
        }
        return over.size === of.length
      },
      120_000,
      200,
    )
    return over
  }

  const renew = ({ certificateId }: Site) => server.post(`/api/v1/certificates/${certificateId}/renew`)
  const deploy = ({ certificateId }: Site) => server.post(`/api/v1/certificates/${certificateId}/deploy`, {})

  /** That each of the deployments was good, was seen to be by the agent, and that the product shows what was issued last. */
  const expectServed = async (jobs: ReadonlyMap<Site, Body>) => {
    const of = [...jobs.keys()]
    const issued = await byName(of, newest)
    expect(
      await byName(of, (site) => {
        const { status, last_error, verification_status, verification_fingerprint } = jobs.get(site)
        return { status, last_error, verification_status, verification_fingerprint }
      }),
    ).toEqual(
      await byName(of, ({ name }) => ({
        status: "Completed",
        last_error: undefined,
        verification_status: "success",
        verification_fingerprint: issued[name],
      })),
    )
    expect(await byName(of, ({ running }) => running.served())).toEqual(issued)
  }

  /** Connects to each again and again during `work`. No connection fails, and each sees just what `mayShow` says afterwards. */
  const underLoad = async <T>(
    of: readonly Site[],
    work: () => Promise<T>,
    mayShow: (site: Site) => Promise<readonly string[]>,
  ): Promise<T> => {
    const loads = of.map((site) => ({ site, load: site.running.hammer() }))
    const stopAll = () => Promise.all(loads.map(async ({ site, load }) => ({ site, ...(await load.stop()) })))
    const result = await work().finally(stopAll)
    for (const { site, connections, failures, seen } of await stopAll()) {
      const expected = await mayShow(site)
      const failed = failures.filter((failure) => !isExcused(site.product, failure))
      const foreign = [...seen].filter((fingerprint) => !expected.includes(fingerprint))
      expect([site.name, failed, foreign]).toEqual([site.name, [], []])
      expect([site.name, connections - failures.length > 5]).toEqual([site.name, true])
    }
    return result
  }

  beforeAll(async () => {
    stage = openStage()
    // Products drop their rights and still find their own folders.
    chmodSync(stage.folder, 0o711)
    run = runner(stage)
    // What has failed is not tried again of itself while these tests run.
    server = await serverProcess(stage, { env: { CERTCTL_SCHEDULER_RETRY_INTERVAL: "1h" } })
    await server.start()
    agent = await joinedAgent(stage, server, { env: { CERTCTL_VERIFY_DELAY: "100ms" } })
    agent.start()
    const ownership = await createOwnership(server)
    sites = await Promise.all(
      products.map(async (product): Promise<Site> => {
        const name = nameOf(product)
          .toLowerCase()
          .replaceAll(/[^a-z0-9]+/g, "-")
        const running = await startPeer(within(stage, name), product)
        const { config } = running.peer
        const target = await server.post("/api/v1/targets", {
          ...{ name, type: product.connector.type, agent_id: agent.id, config },
        })
        const certificate = await server.post("/api/v1/certificates", {
          ...certificateFields(ownership, serverName),
          name,
          target_ids: [target.id],
        })
        return { name, product, running, targetId: target.id, certificateId: certificate.id }
      }),
    )
  })
  afterAll(() => stage?.end())

  test("bring each product its first certificate, several at a time", async () => {
    const jobs = await deployed(sites, renew)
    await expectServed(jobs)
    expect(mostAtOnce([...jobs.values()])).toBeGreaterThan(1)
  })

  test("renew it, and no client is turned away or shown anything else", async () => {
    const jobs = await underLoad(
      sites,
      () => deployed(sites, renew),
      async ({ certificateId }) =>
        (await versionsOf(server, certificateId)).map((version) => version.fingerprint_sha256),
    )
    await expectServed(jobs)
    const counts = await byName(sites, async ({ certificateId }) => (await versionsOf(server, certificateId)).length)
    expect(counts).toEqual(await byName(sites, () => 2))
  })

  test("check each, from the server and on the agent's host", async () => {
    const env = {
      CERTCTL_SERVER_URL: server.url,
      CERTCTL_API_KEY: server.adminKey,
      CERTCTL_SERVER_CA_BUNDLE_PATH: join(server.dataDir, "tls/ca.pem"),
    }
    const check = ({ targetId }: Site) => run([executable, "targets", "test", targetId, "--json"], env)
    expect(await byName(sites, async (site) => JSON.parse(await check(site)))).toEqual(
      await byName(sites, () => ({ status: "success", message: "" })),
    )
    const doctor = await run([executable, "agent", "doctor"], { CERTCTL_DATA_DIR: agent.dataDir })
    const lines = doctor.split("\n").map((line) => line.replaceAll(/ +/g, " "))
    expect(lines.filter((line) => /^\S+ target /.test(line)).toSorted()).toEqual(
      sites
        .map(({ name, targetId, product }) => `${name} ${targetId} (${product.connector.type})`)
        .map((target) => `ok target ${target}: its check found nothing wrong`)
        .toSorted(),
    )
  })

  test("say a product's own words where it refuses, leave it what it had, and succeed once it is mended", async () => {
    const refusing = sites.flatMap((site) => {
      const refusal = site.product.refusals?.find(({ extraLine }) => extraLine !== undefined)
      return refusal?.extraLine === undefined ? [] : [{ site, line: refusal.extraLine, words: refusal.words }]
    })
    const of = refusing.map(({ site }) => site)
    const before = await byName(of, newest)
    for (const { site, line } of refusing) site.running.include(line)
    const failed = await underLoad(
      of,
      () => deployed(of, renew),
      async ({ name }) => [before[name] ?? ""],
    )
    for (const { site, words } of refusing) {
      const { status, last_error } = failed.get(site)
      expect([site.name, status, last_error]).toEqual([site.name, "Failed", expect.stringMatching(words)])
    }
    expect(await byName(of, ({ running }) => running.served())).toEqual(before)

    for (const { running } of of) running.include("")
    await expectServed(await deployed(of, deploy))
    const old = Object.values(before)
    expect(Object.values(await byName(of, newest)).filter((fingerprint) => old.includes(fingerprint))).toEqual([])
  })

  test("end when they are told to, and leave nothing unfinished behind", async () => {
    expect([await agent.stop(), await server.stop()]).toEqual([0, 0])
    const unfinished = readdirSync(agent.dataDir, { recursive: true, encoding: "utf8" })
    expect(unfinished.filter((path) => /^(deployments|outbox)\/.+\.json$/.test(path))).toEqual([])
    const said = agent.log() + server.log() + server.heard.join("")
    // As it is, and as JSON has it.
    const passwords = sites
      .flatMap(({ running }) => running.peer.config.keystore_password ?? [])
      .flatMap((password) => [String(password), JSON.stringify(password).slice(1, -1)])
    for (const secret of [...passwords, "PRIVATE KEY"]) expect([secret, said.includes(secret)]).toEqual([secret, false])
  })
})
