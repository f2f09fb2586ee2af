/** `certctl agent doctor` on a host whose targets only the server knows. */
import { afterEach, beforeEach, expect, setDefaultTimeout, test } from "bun:test"
import { mkdirSync, readdirSync } from "node:fs"
import { joinedAgent } from "../testing/agent-process"
import { serverProcess } from "../testing/server-process"
import { executable, openStage, type Stage } from "../testing/stage"

// Real processes and sockets: slow machines are slow, not wrong.
setDefaultTimeout(120_000)

let stage: Stage
beforeEach(() => {
  stage = openStage()
})
afterEach(() => stage.end())

test("says of each of them what its check says, and neither claims nor writes anything", async () => {
  const server = await serverProcess(stage)
  await server.start()
  const agent = await joinedAgent(stage, server)
  mkdirSync(stage.at("tls"))
  const target = (name: string, type: string, config: Record<string, unknown>, enabled = true) =>
    server.post("/api/v1/targets", { name, type, agent_id: agent.id, config, enabled })
  const pair = { cert_path: stage.at("tls/site.pem"), key_path: stage.at("tls/site.key"), validate_command: "true" }
  await target("good", "NGINX", { ...pair, reload_command: "true" })
  await target("no folder", "NGINX", { ...pair, cert_path: stage.at("nowhere/site.pem"), reload_command: "true" })
  await target("refused", "NGINX", { ...pair, validate_command: "false", reload_command: "true" })
  const store = { keystore_path: stage.at("tls/app.p12"), keystore_password: "hunter2-hunter2", create_keystore: false }
  await target("store", "JavaKeystore", store)
  await target("idle", "Traefik", { cert_dir: stage.at("nowhere") }, false)

  const run = async (...more: string[]) => {
    const env = { CERTCTL_DATA_DIR: agent.dataDir }
    const doctor = stage.run([executable, "agent", "doctor", ...more], { env, name: `doctor${more.length}` })
    return { code: await doctor.exited, text: doctor.stdout() + doctor.stderr() }
  }
  const { code, text } = await run()
  const lines = text.split("\n").filter((line) => line.slice(6).startsWith("target "))
  expect(lines).toHaveLength(5)
  const lineOf = (name: string) => lines.find((line) => line.includes(` ${name} t`)) ?? ""
  expect(lineOf("good")).toMatch(/^ok {4}target .* \(NGINX\): its check found nothing wrong$/)
  expect(lineOf("no folder")).toMatch(
    /^FAIL {2}target .*: cert_path: the folder of .*nowhere\/site\.pem cannot be used/,
  )
  expect(lineOf("refused")).toMatch(/^FAIL {2}target .*: validate_command \(false\) ended with code 1/)
  expect(lineOf("store")).toMatch(/^FAIL {2}target .*: keystore_path: .*app\.p12 does not exist/)
  expect(lineOf("idle")).toMatch(/^- {5}target .* \(Traefik\): disabled$/)
  expect(code).toBe(1)
  const { text: json } = await run("--json")
  expect(JSON.parse(json).filter(({ check }: { check: string }) => check === "target")).toHaveLength(5)
  for (const secret of ["hunter2", agent.apiKey]) expect(text + json).not.toContain(secret)

  expect(readdirSync(stage.at("tls"))).toEqual([])
  expect((await server.get("/api/v1/jobs")).total).toBe(0)
  // The configuration's secret was for the agent alone.
  const { text: shown } = await server.call("GET", `/api/v1/agents/${agent.id}/targets`)
  expect(shown).toContain('"keystore_password":"********"')
  expect(shown).not.toContain("hunter2")
})
