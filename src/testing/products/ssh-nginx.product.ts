/** NGINX on the other side of an sshd: what is written, checked and reloaded there is what it serves. */
import { copyFileSync } from "node:fs"
import { ssh } from "../../connectors/targets/ssh"
import { runNginx } from "../nginx-peer"
import { peer } from "../peers"
import { loginName, makeSshKey, startSshd } from "../sshd-peer"
import { type FileProduct, serverName } from "./product"

const nginx = peer("nginx", "nginx-light")
const isComplete = peer("ssh-keygen", "openssh-client") !== null && nginx !== null

export const sshNginxProduct: FileProduct = {
  connector: ssh,
  name: "NGINX over SSH",
  program: isComplete ? peer("sshd", "openssh-server") : null,
  isRemote: true,
  refusals: [
    { words: /validate_command .* ended with code 1: .*(key values mismatch|SSL_CTX_use_PrivateKey).*_key=restored/s },
    {
      extraLine: "no_such_directive on;",
      words: /validate_command .* ended with code 1: .*unknown directive "no_such_directive".*_key=restored/s,
    },
  ],
  words: {
    wentBack: "it was taken back",
    reloadFailed: "reload_command \\(false\\) ended with code 1; backup_status_cert=restored, .*; it was taken back",
    noRoom: "writing .*: Failure \\(the file system of .*small has no space left\\)",
    noRight: "(writing|replacing) .*: Failure \\(the file system of .*locked is read-only\\)",
    noFolder: ".*missing is no folder of the host",
    fileForFolder: "cert.pem",
  },
  async start(stage, program) {
    const { port, first, extra } = stage
    for (const name of ["host_key", "id"]) makeSshKey(stage, name)
    copyFileSync(stage.at("id.pub"), stage.at("authorized_keys"))
    const daemon = await startSshd(stage, program, { name: "main", hostKey: "host_key" })
    runNginx(
      stage,
      nginx ?? "",
      "nginx",
      `server { listen 127.0.0.1:${port} ssl; server_name ${serverName};
         ssl_certificate ${first.cert}; ssl_certificate_key ${first.key};
         location / { return 200 "ok"; } }
       include ${extra};`,
    )
    const command = `${nginx} -p ${stage.at("nginx")} -c ${stage.at("nginx/nginx.conf")}`
    return {
      config: {
        host: "127.0.0.1",
        port: daemon.port,
        user: loginName(),
        private_key_path: stage.at("id"),
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
