/**
 * From the renew call to the new certificate on the wire, and 200 certificates renewed through one agent: real processes, SQLite with its
 * fsyncs, a real NGINX. `bun build.ts --if-stale && bun scripts/bench/renew.bench.ts`.
 */
import "reflect-metadata"
import { mkdirSync } from "node:fs"
import { cpus, loadavg } from "node:os"
import { joinedAgent } from "../../src/testing/agent-process"
import {
  certificateFields,
  createOwnership,
  createSite,
  endedJob,
  jobsOf,
  versionsOf,
} from "../../src/testing/inventory"
import { startNginx } from "../../src/testing/nginx-peer"
import { peer } from "../../src/testing/peers"
import { type ServerProcess, serverProcess } from "../../src/testing/server-process"
import { openStage } from "../../src/testing/stage"
import { until } from "../../src/testing/until"

const runs = 10
const fleet = 200
const callers = 8

const nginxProgram = peer("nginx", "nginx-light")
if (nginxProgram === null) process.exit(1)

const stage = openStage()
const quiet = { CERTCTL_LOG_LEVEL: "warn" }
const rows: [string, string][] = []

/** Runs `work` for each item, a few at a time. */
const each = async <T>(items: readonly T[], work: (item: T) => Promise<void>): Promise<void> => {
  const left = [...items]
  await Promise.all(
    Array.from({ length: callers }, async () => {
      for (let item = left.shift(); item !== undefined; item = left.shift()) await work(item)
    }),
  )
}

const timeToServed = async (server: ServerProcess): Promise<void> => {
  const nginx = await startNginx(stage, nginxProgram)
  // The look after the deployment, two seconds later by default, is not what is measured.
  const agent = await joinedAgent(stage, server, { env: { ...quiet, CERTCTL_VERIFY_DELAY: "500ms" } })
  agent.start()
  const { certificateId } = await createSite(server, agent.id, nginx.targetConfig())
  await server.post(`/api/v1/certificates/${certificateId}/renew`)
  const deployments = [await endedJob(server, certificateId, "Deployment")]
  const served: number[] = []
  const signed: number[] = []
  for (let run = 0; run < runs; run++) {
    const before = await nginx.served()
    const began = performance.now()
    await server.post(`/api/v1/certificates/${certificateId}/renew`)
    await until("the new certificate is served", async () => (await nginx.served()) !== before)
    served.push(performance.now() - began)
    const [version] = await versionsOf(server, certificateId)
    const renewal = (await jobsOf(server, certificateId)).find(({ type }) => type === "Renewal")
    signed.push(new Date(version.created_at).getTime() - new Date(renewal.created_at).getTime())
    deployments.push(await endedJob(server, certificateId, "Deployment", deployments))
  }
  await agent.stop()
  const spread = (values: number[]) => {
    const sorted = values.toSorted((a, b) => a - b)
    const at = (part: number) => Math.round(sorted[Math.floor(part * (sorted.length - 1))] ?? Number.NaN)
    return `${at(0)} / ${at(0.5)} / ${at(1)} ms`
  }
  rows.push([`job made to version stored, ${runs} runs, fastest / median / slowest`, spread(signed)])
  rows.push([`renew call to new certificate served by NGINX, ${runs} runs`, spread(served)])
  rows.push(["failed deployments", String(deployments.filter(({ status }) => status !== "Completed").length)])
}

const renewFleet = async (server: ServerProcess): Promise<void> => {
  const agent = await joinedAgent(stage, server, { name: "fleet-agent", env: quiet })
  agent.start()
  const ownership = await createOwnership(server, "fleet")
  const ids: string[] = []
  await each(
    Array.from({ length: fleet }, (_, at) => `site-${at}.example`),
    async (name) => {
      const path = stage.at("fleet", name)
      const target = await server.post("/api/v1/targets", {
        name,
        type: "NGINX",
        agent_id: agent.id,
        // Each has its files; what NGINX itself takes is measured above.
        config: { cert_path: `${path}.pem`, key_path: `${path}.key`, validate_command: "true", reload_command: "true" },
      })
      const fields = { ...certificateFields(ownership, name), target_ids: [target.id] }
      ids.push((await server.post("/api/v1/certificates", fields)).id)
    },
  )
  const total = async (query: string): Promise<number> => (await server.get(`/api/v1/jobs?${query}&per_page=1`)).total
  const done = await total("type=Deployment&status=Completed")
  const began = performance.now()
  let refused = 0
  await each(ids, async (id) => {
    if ((await server.call("POST", `/api/v1/certificates/${id}/renew`)).status !== 202) refused++
  })
  const asked = performance.now() - began
  let failed = 0
  await until(
    "all are deployed",
    async () => {
      failed = await total("status=Failed")
      return (await total("type=Deployment&status=Completed")) - done + failed + refused >= fleet
    },
    300_000,
    100,
  )
  const seconds = (performance.now() - began) / 1000
  rows.push([
    `${fleet} certificates through one agent: renew calls answered (${callers} callers)`,
    `${(asked / 1000).toFixed(1)} s`,
  ])
  rows.push([`${fleet} certificates through one agent: all issued and deployed`, `${seconds.toFixed(1)} s`])
  rows.push(["errors", String(failed + refused)])
  await agent.stop()
}

try {
  mkdirSync(stage.at("fleet"))
  const server = await serverProcess(stage, { env: quiet })
  await server.start()
  const load = loadavg()
    .map((value) => value.toFixed(1))
    .join(" ")
  await timeToServed(server)
  await renewFleet(server)
  console.log("command: bun scripts/bench/renew.bench.ts")
  console.log(
    `machine: ${cpus().length} × ${cpus()[0]?.model ?? "unknown"}, load before ${load}, after ${loadavg()[0]?.toFixed(1)}`,
  )
  const width = Math.max(...rows.map(([what]) => what.length))
  for (const [what, value] of rows) console.log(`${what.padEnd(width)}  ${value.padStart(24)}`)
} finally {
  await stage.end()
}
