/** NGINX on the other side of an sshd: what is written, checked and reloaded there is what it serves. */
import { copyFileSync } from "node:fs"
import { ssh } from "../../connectors/targets/ssh"
import { peer } from "../peers"
import { loginName, makeSshKey, startSshd } from "../sshd-peer"
import { nginxProduct } from "./nginx.product"
import type { FileProduct } from "./product"

const isComplete = peer("ssh-keygen", "openssh-client") !== null && nginxProduct.program !== null

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
    for (const name of ["host_key", "id"]) makeSshKey(stage, name)
    copyFileSync(stage.at("id.pub"), stage.at("authorized_keys"))
    const daemon = await startSshd(stage, program, { name: "main", hostKey: "host_key" })
    const site = await nginxProduct.start(stage, nginxProduct.program ?? "")
    const login = { host: "127.0.0.1", port: daemon.port, user: loginName(), private_key_path: stage.at("id") }
    return { ...site, config: { ...login, ...site.config } }
  },
}
