/** NGINX: certificate, chain and key as PEM files, judged by `nginx -t`, taken up by a reload without dropped connections. */
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
        v.optional(pathOrNone()),
        "Chain file",
        "Takes the chain alone; left out, the chain follows the leaf in the certificate file, where NGINX looks for it",
      ),
      key_path: field(
        v.optional(pathOrNone()),
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
      ...certFileFields,
      ...chainFileFields,
      ...keyFileFields,
      ...proofFields,
    }),
    v.check((config) => ownersAreComplete(config), ownersIncomplete),
  ),
  example: {
    cert_path: "/etc/nginx/tls/site.pem",
    key_path: "/etc/nginx/tls/site.key",
    verify_host: "www.example.com",
  },

  connect(config, deps) {
    const { cert, chain, key } = certChainKey(config, nginxUsers)
    const reload = config.reload_command ?? (deps.hasSystemd ? "systemctl reload nginx" : "nginx -s reload")
    return pemTarget(
      {
        product: "nginx",
        files: [cert, ...chain, ...key],
        validate: { key: "validate_command", command: config.validate_command },
        reload: { key: "reload_command", command: reload },
        config,
      },
      deps,
    )
  },
})
