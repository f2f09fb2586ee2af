/** Apache with one site, reloaded gracefully. */
import { mkdirSync, writeFileSync } from "node:fs"
import { apache } from "../../connectors/targets/apache"
import { peer } from "../peers"
import { type FileProduct, serverName } from "./product"

const modules = "/usr/lib/apache2/modules"

export const apacheProduct: FileProduct = {
  connector: apache,
  program: peer("apache2", "apache2"),
  refusals: [
    {
      extraLine: "NoSuchDirective on",
      words: /the check of the new files failed: .*Invalid command 'NoSuchDirective'/s,
    },
  ],
  start(stage, program) {
    const { port, first, extra, at } = stage
    mkdirSync(at("www"))
    writeFileSync(
      at("apache.conf"),
      `ServerRoot ${stage.folder}
       ServerName ${serverName}
       DefaultRuntimeDir ${stage.folder}
       PidFile ${at("apache.pid")}
       ErrorLog ${at("error.log")}
       User www-data
       Group www-data
       ${["mpm_event", "authz_core", "socache_shmcb", "ssl"].map((name) => `LoadModule ${name}_module ${modules}/mod_${name}.so`).join("\n")}
       StartServers 1
       Listen 127.0.0.1:${port}
       DocumentRoot ${at("www")}
       SSLEngine on
       SSLCertificateFile ${first.cert}
       SSLCertificateKeyFile ${first.key}
       Include ${extra}\n`,
    )
    const command = `${program} -f ${at("apache.conf")}`
    stage.run([program, "-f", at("apache.conf"), "-DFOREGROUND"], { name: "apache", lastSignal: "SIGTERM" })
    return {
      config: {
        cert_path: first.cert,
        key_path: first.key,
        validate_command: `${command} -t`,
        reload_command: `${command} -k graceful`,
      },
      files: [first.cert, first.key],
      elsewhere: (folder) => ({ cert_path: `${folder}/cert.pem`, key_path: `${folder}/key.pem` }),
    }
  },
}
