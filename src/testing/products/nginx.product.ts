/** NGINX with one site, reloaded by a signal. */
import { nginx } from "../../connectors/targets/nginx"
import { runNginx } from "../nginx-peer"
import { peer } from "../peers"
import { type FileProduct, serverName } from "./product"

export const nginxProduct: FileProduct = {
  connector: nginx,
  program: peer("nginx", "nginx-light"),
  refusals: [
    { words: /the check of the new files failed: .*(key values mismatch|SSL_CTX_use_PrivateKey)/s },
    {
      extraLine: "no_such_directive on;",
      words: /the check of the new files failed: .*unknown directive "no_such_directive"/s,
    },
  ],
  start(stage, program) {
    const { port, first, extra } = stage
    runNginx(
      stage,
      program,
      "nginx",
      `server { listen 127.0.0.1:${port} ssl; server_name ${serverName};
           ssl_certificate ${first.cert}; ssl_certificate_key ${first.key};
           location / { return 200 "ok"; } }
         include ${extra};`,
    )
    const command = `${program} -p ${stage.at("nginx")} -c ${stage.at("nginx/nginx.conf")}`
    return {
      config: {
        cert_path: first.cert,
        key_path: first.key,
        validate_command: `${command} -t`,
        reload_command: `${command} -s reload`,
      },
      files: [first.cert, first.key],
      elsewhere: (folder) => ({ cert_path: `${folder}/cert.pem`, key_path: `${folder}/key.pem` }),
    }
  },
}
