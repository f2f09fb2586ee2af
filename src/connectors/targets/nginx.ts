/** NGINX: certificate, chain and key as PEM files, judged by `nginx -t`, taken up by a reload without dropped connections. */
import * as v from "valibot"
import { field } from "../config"
import { defineTarget, type PlannedFile } from "./contract"
import {
  absolutePath,
  commandLine,
  fileModeFields,
  ownersAreComplete,
  ownersIncomplete,
  placement,
  proofFields,
  proofSteps,
  retentionIn,
} from "./file-target"

/** Debian's and the vendor's packages name the worker user differently. */
const nginxUsers = ["nginx", "www-data"]

export const nginx = defineTarget({
  type: "NGINX",
  label: "NGINX",
  config: v.pipe(
    // Loose, since the endpoint is also read from keys such as `host` that inventories bring along.
    v.looseObject({
      cert_path: field(absolutePath(), "Certificate file", "What ssl_certificate names"),
      chain_path: field(
        v.optional(absolutePath()),
        "Chain file",
        "Takes the chain alone; left out, the chain follows the leaf in the certificate file, where NGINX looks for it",
      ),
      key_path: field(
        v.optional(absolutePath()),
        "Key file",
        "What ssl_certificate_key names; left out, no key is written",
      ),
      reload_command: field(
        v.optional(commandLine()),
        "Reload command",
        "Default: systemctl reload nginx, or nginx -s reload where there is no systemd",
      ),
      validate_command: field(
        v.optional(commandLine(), "nginx -t"),
        "Check command",
        "Judges the new files before the reload",
      ),
      ...fileModeFields,
      ...proofFields,
    }),
    v.check((config) => ownersAreComplete(config), ownersIncomplete),
  ),
  example: {
    cert_path: "/etc/nginx/tls/site.pem",
    key_path: "/etc/nginx/tls/site.key",
    verify_host: "www.example.com",
  },

  connect(config, { clock, hasSystemd, run }) {
    const validate = { key: "validate_command", command: config.validate_command }
    const reload = {
      key: "reload_command",
      command: config.reload_command ?? (hasSystemd ? "systemctl reload nginx" : "nginx -s reload"),
    }
    return {
      plan({ certPem, chainPem, keyPem }) {
        const file = (path: string, pem: string): Pick<PlannedFile, "path" | "bytes" | "defaultUsers"> => ({
          path,
          bytes: Buffer.from(pem),
          defaultUsers: nginxUsers,
        })
        const files: PlannedFile[] = [
          {
            ...file(config.cert_path, config.chain_path === undefined ? certPem + chainPem : certPem),
            ...placement(config.cert_file_mode, config.cert_file_owner, config.cert_file_group),
            isKey: false,
            defaultMode: 0o644,
          },
        ]
        if (config.chain_path !== undefined) {
          files.push({
            ...file(config.chain_path, chainPem),
            ...placement(config.chain_file_mode, config.chain_file_owner, config.chain_file_group),
            isKey: false,
            defaultMode: 0o644,
          })
        }
        if (config.key_path !== undefined) {
          files.push({
            ...file(config.key_path, keyPem),
            ...placement(config.key_file_mode, config.key_file_owner, config.key_file_group),
            isKey: true,
            defaultMode: 0o600,
          })
        }
        return {
          address: config.cert_path,
          deploymentId: `nginx-${Math.floor(clock.now().getTime() / 1000)}`,
          files,
          steps: [{ kind: "validate", run: validate }, { kind: "reload", run: reload }, ...proofSteps(config)],
          backupRetention: retentionIn(config.backup_retention),
        }
      },
      check: () => run(validate),
    }
  },
})
