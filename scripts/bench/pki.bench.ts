/**
 * The PKI over HTTP: the compiled server on SQLite, and a load generator beside it on the same machine. Needs `wrk` (Debian: wrk) and
 * `openssl`. Rates stand beside what `openssl speed` makes of the same curve in the same run: machines differ, ratios hardly do. So
 * does the CPU that the server used for each answer, which other work on the machine changes less than the rate.
 *
 *   npm run build && bun scripts/bench/pki.bench.ts [seconds] [part of a name]
 */
import "reflect-metadata"
import { readFileSync, writeFileSync } from "node:fs"
import { buildCsr } from "../../src/pki/csr"
import { generateKey } from "../../src/pki/keys"
import { joinedAgent } from "../../src/testing/agent-process"
import { certificateFields, createOwnership } from "../../src/testing/inventory"
import { serverProcess } from "../../src/testing/server-process"
import { openStage } from "../../src/testing/stage"
import { machineLine } from "./fleet"

const seconds = Number(process.argv[2] ?? 5)
const only = process.argv[3] ?? ""
/** Certificates that wait for a CSR, each with a target: as many as can be issued meanwhile, with the second that warms up. */
const fleetSize = 2500 * (seconds + 1)
/** Requests at once while they are made. */
const makers = 16

const output = (argv: readonly string[]): string => {
  const { success, stdout, stderr } = Bun.spawnSync([...argv], { stdio: ["ignore", "pipe", "pipe"] })
  if (!success) throw new Error(`${argv.join(" ")}: ${stderr}`)
  return `${stdout}${stderr}`
}

/** Signatures and verifications per second, one thread. */
const speedOf = (): { sign: number; verify: number } => {
  const found = / ecdsa \(nistp256\)\s+\S+\s+\S+\s+([\d.]+)\s+([\d.]+)/.exec(
    output(["openssl", "speed", "-seconds", "2", "ecdsap256"]),
  )
  return { sign: Number(found?.[1]), verify: Number(found?.[2]) }
}

/** Seconds of CPU that a process has used. In ticks of a hundredth of a second, which is what Linux has. */
const cpuSeconds = (pid: number): number => {
  const fields = readFileSync(`/proc/${pid}/stat`, "utf8").split(") ")[1]?.split(" ") ?? []
  return (Number(fields[11]) + Number(fields[12])) / 100
}

const stage = openStage()
const rows: string[] = []
try {
  const server = await serverProcess(stage, {
    env: {
      CERTCTL_SERVER_TLS: "off",
      CERTCTL_LOG_LEVEL: "warn",
      CERTCTL_OCSP_RATE_LIMIT_PER_IP_MIN: "0",
    },
  })
  await server.start()
  const agent = await joinedAgent(stage, server)
  const ownership = await createOwnership(server)
  const target = await server.post("/api/v1/targets", {
    name: "bench",
    type: "NGINX",
    agent_id: agent.id,
    config: { cert_path: "/tmp/bench.pem", key_path: "/tmp/bench.key", reload_command: "true" },
  })
  const privateKey = await generateKey("ecdsa-p256")
  const bodies: string[] = []
  const ids: string[] = []
  let made = 0
  const make = async (): Promise<void> => {
    while (made < fleetSize) {
      const name = `host-${made++}.example`
      const certificate = await server.post("/api/v1/certificates", {
        ...certificateFields(ownership, name),
        target_ids: [target.id],
      })
      await server.post(`/api/v1/certificates/${certificate.id}/renew`, {})
      ids.push(certificate.id)
      const csrPem = buildCsr({ commonName: name, sans: [name], privateKey })
      bodies.push(JSON.stringify({ csr_pem: csrPem, certificate_id: certificate.id }))
    }
  }
  await Promise.all(Array.from({ length: makers }, make))
  const csrPath = `/api/v1/agents/${agent.id}/csr`
  const first = await server.call("POST", csrPath, bodies[0], {
    key: agent.apiKey,
    headers: { "content-type": "application/json" },
  })
  if (first.status !== 202) throw new Error(`the CSR was answered ${first.status}: ${first.text}`)
  const [version] = (await server.get(`/api/v1/certificates/${ids[0]}/versions`)).data
  const pki = `${server.url}/.well-known/pki`
  const caPem = stage.at("ca.pem")
  const caDer = new Uint8Array(await (await fetch(`${pki}/ca/iss-local`)).arrayBuffer())
  writeFileSync(stage.at("ca.der"), caDer)
  output(["openssl", "x509", "-inform", "der", "-in", stage.at("ca.der"), "-out", caPem])
  const asked = (...nonce: string[]): string => {
    const file = stage.at(`request${nonce.length}.der`)
    output(["openssl", "ocsp", "-issuer", caPem, "-serial", `0x${version.serial_number}`, ...nonce, "-reqout", file])
    return file
  }

  /** A Lua script that sends one request again and again, or takes the bodies of a file of JSON lines in turn. */
  const script = (name: string, lines: readonly string[]): string => {
    const file = stage.at(`${name}.lua`)
    writeFileSync(file, lines.join("\n"))
    return file
  }
  const readAll = (file: string) => `local f = assert(io.open("${file}", "rb")); wrk.body = f:read("*a"); f:close()`
  const postOcsp = (file: string) => [
    `wrk.method = "POST"; wrk.headers["Content-Type"] = "application/ocsp-request"`,
    readAll(file),
  ]
  const bodiesFile = stage.at("bodies")
  writeFileSync(bodiesFile, bodies.join("\n"))

  /** Issuing jobs that are done. */
  const issued = async (): Promise<number> =>
    (await server.get("/api/v1/jobs?status=Completed&type=Issuance&per_page=1")).total
  const run = async (name: string, url: string, lua: string | null, limit: string, issues = false): Promise<void> => {
    if (!name.includes(only)) return
    const shoot = (duration: number, from = 0) => {
      const scripted = lua === null ? [] : ["-s", lua]
      return output(["wrk", "-t1", "-c32", `-d${duration}s`, "--latency", ...scripted, url, "--", `${from}`])
    }
    shoot(1)
    const speed = speedOf()
    const before = issues ? await issued() : 0
    const cpuBefore = cpuSeconds(server.pid)
    const text = shoot(seconds, before)
    const cpu = cpuSeconds(server.pid) - cpuBefore
    // The same CSR again is answered without being worked, so what was issued is counted, not what was answered.
    const rate = issues ? ((await issued()) - before) / seconds : Number(/Requests\/sec:\s+([\d.]+)/.exec(text)?.[1])
    if (issues && (await issued()) === fleetSize) console.error("all CSRs were used up: the rate is higher than shown")
    const p99 = /99%\s+(\S+)/.exec(text)?.[1] ?? "?"
    const bad = /Non-2xx or 3xx responses: (\d+)/.exec(text)?.[1] ?? "0"
    rows.push(
      `${name.padEnd(34)}${Math.round(rate).toString().padStart(8)}/s${p99.padStart(10)}${bad.padStart(6)}${((cpu * 1000) / (rate * seconds)).toFixed(2).padStart(9)} ms   ${limit.padEnd(10)} ${(rate / speed.sign).toFixed(2)} of ${Math.round(speed.sign)} signatures/s`,
    )
    console.error(rows.at(-1))
  }
  await run(
    "whole path: CSR in, version out",
    server.url + csrPath,
    script("csr", [
      `wrk.method = "POST"; wrk.headers["Content-Type"] = "application/json"`,
      `wrk.headers["Authorization"] = "Bearer ${agent.apiKey}"`,
      `local bodies = {}; for line in io.lines("${bodiesFile}") do bodies[#bodies + 1] = line end`,
      "local i = 0",
      "init = function(args) i = tonumber(args[1] or 0) end",
      "request = function() i = i % #bodies + 1; return wrk.format(nil, nil, nil, bodies[i]) end",
    ]),
    "2,000/s",
    true,
  )
  await run("OCSP POST, kept", `${pki}/ocsp/iss-local`, script("kept", postOcsp(asked("-no_nonce"))), "15,000/s")
  const encoded = encodeURIComponent(readFileSync(asked("-no_nonce")).toString("base64"))
  await run("OCSP GET, kept", `${pki}/ocsp/iss-local/${encoded}`, null, "15,000/s")
  await run("OCSP POST, signed for a nonce", `${pki}/ocsp/iss-local`, script("fresh", postOcsp(asked())), "5,000/s")
  await run("CRL", `${pki}/crl/iss-local`, null, "10,000/s")
  console.log(`\nbun scripts/bench/pki.bench.ts ${seconds}   (${machineLine()})\n`)
  console.log("what                                rate       p99  failed  CPU each   limit      beside openssl")
  for (const row of rows) console.log(row)
} finally {
  await stage.end()
}
