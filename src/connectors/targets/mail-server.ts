/**
 * Postfix and Dovecot: one connector with two sets of defaults. Neither `postfix check` nor `doveconf -n` reads the PEM files:
 * both accept any pair, so only the proof on the wire says that the new certificate works. Their checks come before the files are
 * replaced: every smtpd reads them when it starts, which is all the time, and keeps what it read for a hundred clients.
 */
import * as v from "valibot"
import { field } from "../config"
import { defineTarget } from "./contract"
import {
  absolutePath,
  certFileFields,
  chainFileFields,
  commandLine,
  keyFileFields,
  ownersAreComplete,
  ownersIncomplete,
  pathOrNone,
  proofFields,
} from "./file-target"
import { certChainKey, pemTarget } from "./pem-target"

interface Product {
  readonly type: string
  readonly mode: "postfix" | "dovecot"
  readonly certSetting: string
  readonly keySetting: string
  readonly reload: string
  readonly validate: string
  /** The daemon's user under the names that packages give it. */
  readonly users: readonly string[]
  readonly verify: Readonly<Record<string, string | number>>
}

const mailServer = ({ type, mode, certSetting, keySetting, reload, validate, users, verify }: Product) => {
  const folder = `/etc/${mode}/certs`
  return defineTarget({
    type,
    label: type,
    config: v.pipe(
      v.looseObject({
        // Configurations that came from elsewhere carry it. It decides nothing, so it must not say something else.
        mode: field(
          v.optional(v.literal(mode, `must be ${mode}, as the target's type says`), mode),
          "Mode",
          `Always ${mode}: the target's type decides`,
        ),
        cert_path: field(v.optional(absolutePath(), `${folder}/cert.pem`), "Certificate file", certSetting),
        chain_path: field(
          v.optional(pathOrNone()),
          "Chain file",
          "Takes the chain alone; left out, the chain follows the leaf in the certificate file, where the server looks for it",
        ),
        key_path: field(v.optional(pathOrNone(), `${folder}/key.pem`), "Key file", keySetting),
        reload_command: field(v.optional(commandLine(), reload), "Reload command", "Has the server read the files"),
        validate_command: field(
          v.optional(commandLine(), validate),
          "Check command",
          "Judges the server's configuration before the files are replaced; it does not read them",
        ),
        ...certFileFields,
        ...chainFileFields,
        ...keyFileFields,
        ...proofFields,
      }),
      v.check((config) => ownersAreComplete(config), ownersIncomplete),
    ),
    example: { cert_path: `${folder}/cert.pem`, key_path: `${folder}/key.pem`, ...verify },

    connect(config, deps) {
      const { cert, chain, key } = certChainKey(config, users)
      return pemTarget(
        {
          product: mode,
          files: [cert, ...chain, ...key],
          validatesFirst: true,
          validate: { key: "validate_command", command: config.validate_command },
          reload: { key: "reload_command", command: config.reload_command },
          config,
        },
        deps,
      )
    },
  })
}

export const postfix = mailServer({
  type: "Postfix",
  mode: "postfix",
  certSetting: "What smtpd_tls_cert_file names",
  keySetting: "What smtpd_tls_key_file names",
  reload: "postfix reload",
  validate: "postfix check",
  users: ["postfix", "_postfix"],
  verify: { verify_host: "mail.example.com", verify_port: 25, verify_starttls: "smtp" },
})

export const dovecot = mailServer({
  type: "Dovecot",
  mode: "dovecot",
  certSetting: "What ssl_cert = <… names",
  keySetting: "What ssl_key = <… names",
  reload: "doveadm reload",
  validate: "doveconf -n",
  users: ["dovecot"],
  verify: { verify_host: "mail.example.com", verify_port: 993 },
})
