/** HAProxy with a master and workers, and one site. */
import { writeFileSync } from "node:fs"
import { haproxy } from "../../connectors/targets/haproxy"
import { peer } from "../peers"
import type { FileProduct, PeerStage } from "./product"

/**
 * Waits until the old worker is gone: a signal that comes while the master starts anew is lost, which it still does when it has
 * said "Loading success". `name` is that of the program.
 */
export const reloadScript = (stage: PeerStage, name: string, master: number): string =>
  stage.script(
    `reload-${name}`,
    `gone() { grep -c "Former worker .* exited" ${stage.at(`${name}.err`)}; }
     before=$(gone)
     kill -USR2 ${master}
     while [ "$(gone)" = "$before" ]; do sleep 0.02; done`,
  )

export const haproxyProduct: FileProduct = {
  connector: haproxy,
  program: peer("haproxy", "haproxy"),
  refusals: [
    { words: /the check of the new files failed: .*inconsistencies between private key and certificate/s },
    {
      extraLine: "no_such_keyword on",
      words: /the check of the new files failed: .*unknown keyword 'no_such_keyword'/s,
    },
  ],
  start(stage, executable) {
    const { port, first, extra, at } = stage
    writeFileSync(
      at("haproxy.cfg"),
      `global
         maxconn 200
       defaults
         mode http
         timeout client 5s
         timeout server 5s
         timeout connect 5s
       frontend site
         bind 127.0.0.1:${port} ssl crt ${first.combined}
         http-request return status 200 content-type text/plain string ok\n`,
    )
    const files = ["-f", at("haproxy.cfg"), "-f", extra]
    const master = stage.run([executable, "-W", "-db", ...files], {
      name: "haproxy",
      lastSignal: "SIGTERM",
    })
    return {
      config: {
        pem_path: first.combined,
        validate_command: [executable, "-c", ...files].join(" "),
        reload_command: reloadScript(stage, "haproxy", master.pid),
      },
      files: [first.combined],
      elsewhere: (folder) => ({ pem_path: `${folder}/site.pem` }),
    }
  },
}
