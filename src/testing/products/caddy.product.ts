/** Caddy with one site: by files that a reload takes up, and by its admin API. */
import { writeFileSync } from "node:fs"
import { caddy } from "../../connectors/targets/caddy"
import { freePort } from "../free-port"
import { peer } from "../peers"
import type { Program, Stage } from "../stage"
import { until } from "../until"
import { type FileProduct, type PeerProduct, serverName } from "./product"

const program = peer("caddy", "caddy")

/** `path`: its configuration. */
export const runCaddy = (stage: Stage, executable: string, path: string): Program =>
  stage.run([executable, "run", "--config", path], {
    name: "caddy",
    env: { XDG_DATA_HOME: stage.at("data"), XDG_CONFIG_HOME: stage.at("config") },
    lastSignal: "SIGTERM",
  })

// Each configuration gets a listening socket of its own (SO_REUSEPORT), and what waits at the old one is reset with it.
const mayReset = true

export const caddyProduct: FileProduct = {
  connector: caddy,
  program,
  mayReset,
  refusals: [
    { words: /the reload failed: .*private key does not match public key/s },
    { extraLine: "no_such_directive on", words: /the reload failed: .*unrecognized directive: no_such_directive/s },
  ],
  async start(stage, executable) {
    const { first, port, extra, at } = stage
    const adminPort = await freePort()
    writeFileSync(
      at("Caddyfile"),
      `{
  admin 127.0.0.1:${adminPort}
  auto_https off
}
https://${serverName}:${port} {
  bind 127.0.0.1
  tls ${first.cert} ${first.key}
  import ${extra}
  respond "ok"
}
`,
    )
    runCaddy(stage, executable, at("Caddyfile"))
    return {
      config: {
        mode: "file",
        cert_dir: at("tls"),
        reload_command: `${executable} reload --config ${at("Caddyfile")} --force --address 127.0.0.1:${adminPort}`,
      },
      files: [first.cert, first.key],
      elsewhere: (folder) => ({ cert_dir: folder }),
    }
  },
}

export const caddyApiProduct: PeerProduct = {
  name: "Caddy's admin API",
  connector: caddy,
  program,
  mayReset,
  isBare: true,
  async start(stage, executable) {
    const { port, at } = stage
    const listen = `127.0.0.1:${await freePort()}`
    const site = {
      listen: [`127.0.0.1:${port}`],
      automatic_https: { disable: true },
      tls_connection_policies: [{}],
      routes: [{ handle: [{ handler: "static_response", body: "ok" }] }],
    }
    writeFileSync(at("caddy.json"), JSON.stringify({ admin: { listen }, apps: { http: { servers: { site } } } }))
    const caddyProcess = runCaddy(stage, executable, at("caddy.json"))
    const admin_api = `http://${listen}`
    await until("Caddy answers", async () => {
      if (caddyProcess.exitCode() !== null) throw new Error(caddyProcess.stderr())
      return fetch(`${admin_api}/config/`).then(
        ({ ok }) => ok,
        () => false,
      )
    })
    return { config: { admin_api } }
  },
}
