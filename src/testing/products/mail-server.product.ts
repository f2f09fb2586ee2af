/** Dovecot with IMAP over TLS, and Postfix with STARTTLS. */
import { chownSync, copyFileSync, mkdirSync, writeFileSync } from "node:fs"
import { dovecot, postfix } from "../../connectors/targets/mail-server"
import { peer } from "../peers"
import { type FileProduct, serverName } from "./product"

export const dovecotProduct: FileProduct = {
  connector: dovecot,
  program: peer("dovecot", "dovecot-core"),
  refusals: [
    {
      extraLine: "no_such_setting = yes",
      words: /the check of the service's configuration failed: .*no_such_setting/s,
      isBeforeFiles: true,
    },
  ],
  start(stage, program) {
    const { port, first, extra, at } = stage
    writeFileSync(
      at("dovecot.conf"),
      `protocols = imap
base_dir = ${at("run")}
state_dir = ${at("run")}
log_path = ${at("dovecot.log")}
listen = 127.0.0.1
ssl = required
ssl_cert = <${first.cert}
ssl_key = <${first.key}
service imap-login {
  inet_listener imap {
    port = 0
  }
  inet_listener imaps {
    port = ${port}
    ssl = yes
  }
}
passdb {
  driver = static
  args = nopassword=y
}
userdb {
  driver = static
  args = uid=65534 gid=65534 home=/nonexistent
}
!include_try ${extra}
`,
    )
    stage.run([program, "-F", "-c", at("dovecot.conf")], { name: "dovecot", lastSignal: "SIGTERM" })
    return {
      config: {
        cert_path: first.cert,
        key_path: first.key,
        validate_command: `doveconf -n -c ${at("dovecot.conf")}`,
        reload_command: `doveadm -c ${at("dovecot.conf")} reload`,
      },
      files: [first.cert, first.key],
      elsewhere: (folder) => ({ cert_path: `${folder}/cert.pem`, key_path: `${folder}/key.pem` }),
    }
  },
}

export const postfixProduct: FileProduct = {
  connector: postfix,
  program: peer("postfix", "postfix"),
  startTls: "smtp",
  // `postfix check` and `postfix reload` take their time.
  renewals: 1,
  // Without a terminal Postfix says what is wrong in its log alone.
  refusals: [
    {
      extraLine: "compatibility_level = nonsense",
      words: /the check of the service's configuration failed: validate_command .* ended with code 1/,
      isBeforeFiles: true,
    },
  ],
  start(stage, program) {
    const { port, first, extra, at } = stage
    const etc = at("etc")
    for (const folder of [etc, at("queue"), at("data")]) mkdirSync(folder)
    chownSync(at("data"), Number(Bun.spawnSync(["id", "-u", "postfix"]).stdout.toString()), 0)
    writeFileSync(
      `${etc}/main.cf`,
      `compatibility_level = 3.6
queue_directory = ${at("queue")}
data_directory = ${at("data")}
maillog_file_prefixes = ${stage.folder}
maillog_file = ${at("mail.log")}
myhostname = ${serverName}
inet_interfaces = 127.0.0.1
inet_protocols = ipv4
mydestination =
alias_maps =
smtpd_tls_security_level = may
smtpd_tls_cert_file = ${first.cert}
smtpd_tls_key_file = ${first.key}
`,
    )
    const services = ["cleanup", "rewrite", "tlsmgr", "anvil", "proxymap", "bounce", "qmgr", "pickup", "postlog"]
    const line: Record<string, string> = {
      rewrite: "rewrite unix - - n - - trivial-rewrite",
      tlsmgr: "tlsmgr unix - - n 1000? 1 tlsmgr",
      postlog: "postlog unix-dgram n - n - 1 postlogd",
    }
    writeFileSync(
      `${etc}/master.cf`,
      `127.0.0.1:${port} inet n - n - - smtpd\n${services.map((name) => line[name] ?? `${name} unix - - n - - ${name}`).join("\n")}\n`,
    )
    // Postfix has no include: what is added is checked in a folder of its own. The running one must not read it: a process that
    // cannot start is not tried again for a minute.
    const checked = at("checked")
    mkdirSync(checked)
    copyFileSync(`${etc}/master.cf`, `${checked}/master.cf`)
    // Seconds each time, so it is asked where there is something to find.
    const check = stage.script(
      "check",
      `grep -q . ${extra} || exit 0\ncat ${etc}/main.cf ${extra} >${checked}/main.cf\n${program} -c ${checked} check`,
    )
    const prepared = Bun.spawnSync([program, "-c", etc, "check"])
    if (prepared.exitCode !== 0) throw new Error(prepared.stderr.toString())
    stage.run(["/usr/lib/postfix/sbin/master", "-c", etc, "-d"], { name: "postfix", lastSignal: "SIGTERM" })
    return {
      config: {
        cert_path: first.cert,
        key_path: first.key,
        validate_command: check,
        reload_command: `${program} -c ${etc} reload`,
      },
      files: [first.cert, first.key],
      elsewhere: (folder) => ({ cert_path: `${folder}/cert.pem`, key_path: `${folder}/key.pem` }),
    }
  },
}
