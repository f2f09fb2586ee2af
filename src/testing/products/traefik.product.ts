/** Traefik with one site, whose file provider watches a folder. */
import { writeFileSync } from "node:fs"
import { traefik } from "../../connectors/targets/traefik"
import { optionalPeer } from "../peers"
import type { FileProduct } from "./product"

export const traefikProduct: FileProduct = {
  connector: traefik,
  name: "Traefik itself",
  program: optionalPeer("traefik", "scripts/peers/traefik.sh"),
  isReloaded: false,
  start(stage, program) {
    const { port, first, at } = stage
    const certificates = [{ certFile: first.cert, keyFile: first.key }]
    writeFileSync(at("tls/dynamic.yml"), JSON.stringify({ tls: { certificates } }))
    const config = {
      global: { checkNewVersion: false, sendAnonymousUsage: false },
      entryPoints: { site: { address: `127.0.0.1:${port}`, http: { tls: {} } } },
      providers: { file: { directory: at("tls"), watch: true } },
    }
    writeFileSync(at("traefik.yml"), JSON.stringify(config))
    stage.run([program, `--configFile=${at("traefik.yml")}`], { name: "traefik", lastSignal: "SIGTERM" })
    return {
      // It gathers changes for two seconds: the proof's own waits are made for that, those of these tests are shorter.
      config: {
        cert_dir: at("tls"),
        post_deploy_verify_attempts: undefined,
        post_deploy_verify_backoff: undefined,
        post_deploy_verify_max_backoff: undefined,
      },
      files: [first.cert, first.key],
      elsewhere: (folder) => ({ cert_dir: folder }),
    }
  },
}
