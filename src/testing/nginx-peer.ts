/** A private NGINX with its own folder and port, never the machine's service. */
import { mkdirSync, writeFileSync } from "node:fs"
import { testAuthority, testLeaf } from "../../agent/agent-server.fake"
import { probe } from "../connectors/probe"
import { freePort } from "./free-port"
import type { Program, Stage } from "./stage"
import { until } from "./until"

export interface NginxPeer {
  readonly port: number
  readonly serverName: string
  readonly certPath: string
  readonly keyPath: string
  readonly process: Program
  /** The configuration of a target that deploys to it and looks at what it serves. */
  targetConfig(extra?: Record<string, unknown>): Record<string, unknown>
  /** Fingerprint of what a new connection is shown, or why there was none. */
  served(): Promise<string>
  /** What its configuration includes beside the certificate. "" is what it begins with. */
  include(text: string): void
  /** New connections, one after another, until it is stopped. */
  hammer(): { stop(): Promise<{ requests: number; failures: string[] }> }
}

/** Starts one in the stage's folder `name`. `http` is what its http block holds; its errors are in `error.log`. */
export const runNginx = (stage: Stage, program: string, name: string, http: string): Program => {
  const folder = stage.at(name)
  const at = (file: string) => `${folder}/${file}`
  mkdirSync(at("tmp"), { recursive: true })
  const temporary = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"].map(
    (kind) => `${kind}_temp_path ${at("tmp")};`,
  )
  writeFileSync(
    at("nginx.conf"),
    `daemon off; pid ${at("nginx.pid")}; error_log ${at("error.log")}; worker_processes 1;
     events { worker_connections 128; }
     http { access_log off; ${temporary.join(" ")} ${http} }\n`,
  )
  return stage.run([program, "-p", folder, "-c", at("nginx.conf")], {
    name: `${name}-program`,
    // A killed master leaves its workers behind.
    lastSignal: "SIGTERM",
  })
}

/** Serves a certificate of no meaning at first. `program` is what `peer("nginx", …)` found. */
export const startNginx = async (
  stage: Stage,
  program: string,
  { name = "nginx", serverName = "site.example" }: { name?: string; serverName?: string } = {},
): Promise<NginxPeer> => {
  const port = await freePort()
  const folder = stage.at(name)
  const at = (file: string) => `${folder}/${file}`
  mkdirSync(at("tls"), { recursive: true })
  const first = await testLeaf(await testAuthority(), [serverName])
  const certPath = at("tls/site.pem")
  const keyPath = at("tls/site.key")
  writeFileSync(certPath, first.certPem)
  writeFileSync(keyPath, first.keyPem, { mode: 0o600 })
  writeFileSync(at("extra.conf"), "")
  const nginx = runNginx(
    stage,
    program,
    name,
    `include ${at("extra.conf")};
     server { listen 127.0.0.1:${port} ssl; server_name ${serverName};
       ssl_certificate ${certPath}; ssl_certificate_key ${keyPath};
       location / { return 200 "ok"; } }`,
  )

  const served = async (): Promise<string> => {
    const result = await probe({ host: "127.0.0.1", port, serverName, timeoutMs: 5000 })
    return result.ok ? result.served.fingerprint : result.error
  }
  await until("NGINX serves", async () => {
    if (nginx.exitCode() !== null) throw new Error(`NGINX ended: ${nginx.stderr()}`)
    return /^[0-9a-f]{64}$/.test(await served())
  })

  return {
    port,
    serverName,
    certPath,
    keyPath,
    process: nginx,
    targetConfig: (extra = {}) => ({
      cert_path: certPath,
      key_path: keyPath,
      validate_command: `${program} -t -p ${folder} -c ${at("nginx.conf")}`,
      reload_command: `${program} -s reload -p ${folder} -c ${at("nginx.conf")}`,
      verify_host: "127.0.0.1",
      verify_port: port,
      verify_server_name: serverName,
      // Workers of before a reload may take a last connection.
      post_deploy_verify_backoff: "50ms",
      post_deploy_verify_attempts: 10,
      ...extra,
    }),
    served,
    include: (text) => writeFileSync(at("extra.conf"), text),
    hammer() {
      let isOver = false
      let requests = 0
      const failures: string[] = []
      const load = (async () => {
        while (!isOver) {
          const answer = await fetch(`https://127.0.0.1:${port}/`, {
            keepalive: false,
            signal: AbortSignal.timeout(10_000),
            tls: { rejectUnauthorized: false },
          }).then(
            ({ status }) => (status === 200 ? null : `status ${status}`),
            (error: unknown) => String(error),
          )
          requests++
          if (answer !== null) failures.push(answer)
        }
      })()
      return {
        async stop() {
          isOver = true
          await load
          return { requests, failures }
        },
      }
    },
  }
}
