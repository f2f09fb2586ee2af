/**
 * How long one agent takes for 1,000 deployments, and what it needs when it has nothing to do: the compiled server (SQLite, TLS)
 * and the compiled agent on this machine, 500 certificates of two file targets each whose commands do nothing. First all are
 * issued, then all are renewed, so that every file is replaced with backup; then the agent idles.
 *
 *   bun build.ts --if-stale && bun scripts/bench/agent-deployments.bench.ts [certificates] [idle seconds]
 */
import { mkdirSync, readFileSync } from "node:fs"
import { cpus, loadavg } from "node:os"
import { joinedAgent } from "../../src/testing/agent-process"
import { certificateFields, createOwnership } from "../../src/testing/inventory"
import { serverProcess } from "../../src/testing/server-process"
import { openStage } from "../../src/testing/stage"
import { until } from "../../src/testing/until"

const certificates = Number(process.argv[2] ?? 500)
const idleSeconds = Number(process.argv[3] ?? 60)
const targetsEach = 2

const stage = openStage()

/** User and system time of a process so far, in seconds. The kernel counts in hundredths. */
const processorSeconds = (pid: number): number => {
  const fields = readFileSync(`/proc/${pid}/stat`, "utf8").split(") ")[1]?.split(" ") ?? []
  return (Number(fields[11]) + Number(fields[12])) / 100
}
const memoryMiB = (pid: number, field: "VmRSS" | "VmHWM"): number =>
  Number(new RegExp(`${field}:\\s+(\\d+)`).exec(readFileSync(`/proc/${pid}/status`, "utf8"))?.[1]) / 1024

/** Runs tasks, sixteen at a time. */
const forEach = async <T>(items: readonly T[], task: (item: T) => Promise<unknown>): Promise<void> => {
  const waiting = [...items]
  const worker = async () => {
    for (let item = waiting.shift(); item !== undefined; item = waiting.shift()) await task(item)
  }
  await Promise.all(Array.from({ length: 16 }, worker))
}

try {
  const server = await serverProcess(stage, { env: { CERTCTL_LOG_LEVEL: "warn" } })
  await server.start()
  const agent = await joinedAgent(stage, server, { env: { CERTCTL_LOG_LEVEL: "warn" } })
  const ownership = await createOwnership(server, "fleet")
  mkdirSync(stage.at("fleet"))
  const ids: string[] = []
  await forEach(
    Array.from({ length: certificates }, (_, i) => `site-${i}.example.com`),
    async (name) => {
      const targets: string[] = []
      for (let place = 0; place < targetsEach; place++) {
        const at = (kind: string) => stage.at("fleet", `${name}-${place}.${kind}`)
        const config = { cert_path: at("pem"), key_path: at("key"), validate_command: "true", reload_command: "true" }
        const target = { name: `${name} ${place}`, type: "NGINX", agent_id: agent.id, config }
        targets.push((await server.post("/api/v1/targets", target)).id)
      }
      const fields = { ...certificateFields(ownership, name), target_ids: targets }
      ids.push((await server.post("/api/v1/certificates", fields)).id)
    },
  )

  const deployed = async (): Promise<number> =>
    (await server.get("/api/v1/jobs?type=Deployment&status=Completed&per_page=1")).total
  const round = async (title: string, begin: () => Promise<void>): Promise<void> => {
    const wanted = (await deployed()) + certificates * targetsEach
    const began = performance.now()
    await begin()
    const { pid } = agent.process()
    const usedBefore = processorSeconds(pid)
    const serverBefore = processorSeconds(server.process().pid)
    await until(title, async () => (await deployed()) >= wanted, 600_000, 250)
    console.log(
      `${title}: ${((performance.now() - began) / 1000).toFixed(1)} s; processor seconds: agent ${(processorSeconds(pid) - usedBefore).toFixed(1)}, server ${(processorSeconds(server.process().pid) - serverBefore).toFixed(1)}; agent ${memoryMiB(pid, "VmRSS").toFixed(0)} MiB, at most ${memoryMiB(pid, "VmHWM").toFixed(0)} MiB`,
    )
    const failed = (await server.get("/api/v1/jobs?status=Failed&per_page=1")).total
    if (failed > 0) console.log(`  ${failed} jobs failed`)
  }

  console.log(
    `${certificates} certificates of ${targetsEach} targets each; ${cpus().length} processors (${cpus()[0]?.model}), load ${loadavg()[0]?.toFixed(1)}`,
  )
  const renewAll = () => forEach(ids, (id) => server.post(`/api/v1/certificates/${id}/renew`))
  const waiting = async () => (await server.get("/api/v1/jobs?status=AwaitingCSR&per_page=1")).total
  await renewAll()
  await until("all wait for the agent", async () => (await waiting()) === certificates, 120_000, 250)
  await round("issued and deployed for the first time", async () => agent.start())
  await round("renewed and replaced", renewAll)

  const { pid } = agent.process()
  const before = processorSeconds(pid)
  await Bun.sleep(idleSeconds * 1000)
  const share = ((processorSeconds(pid) - before) / idleSeconds) * 100
  console.log(
    `idle for ${idleSeconds} s: ${share.toFixed(2)} % of a processor, ${memoryMiB(pid, "VmRSS").toFixed(0)} MiB`,
  )
  await agent.stop()
} finally {
  await stage.end()
}
