/** HAProxy: leaf, chain and key in one PEM file that `crt` names. A reload starts new workers; the old ones end what they have. */
import * as v from "valibot"
import { field } from "../config"
import { defineTarget } from "./contract"
import {
  absolutePath,
  commandLine,
  ownersAreComplete,
  ownersIncomplete,
  pemFileFields,
  proofFields,
} from "./file-target"
import { combinedFile, pemTarget } from "./pem-target"

export const haproxy = defineTarget({
  type: "HAProxy",
  label: "HAProxy",
  config: v.pipe(
    v.looseObject({
      pem_path: field(absolutePath(), "PEM file", "What crt names: takes the certificate, its chain and the key"),
      reload_command: field(
        v.optional(commandLine(), "systemctl reload haproxy"),
        "Reload command",
        "Has HAProxy start workers with the new file",
      ),
      validate_command: field(
        v.optional(v.union([v.literal(""), commandLine()])),
        "Check command",
        "Judges the new file before the reload, as in: haproxy -c -f /etc/haproxy/haproxy.cfg; left out or empty, nothing does",
      ),
      ...pemFileFields,
      ...proofFields,
    }),
    v.check((config) => ownersAreComplete(config), ownersIncomplete),
  ),
  example: {
    pem_path: "/etc/haproxy/tls/site.pem",
    validate_command: "haproxy -c -f /etc/haproxy/haproxy.cfg",
    verify_host: "www.example.com",
  },

  connect(config, deps) {
    const { pem_path, validate_command } = config
    return pemTarget(
      {
        product: "haproxy",
        files: [combinedFile({ key: "pem_path", path: pem_path, users: ["haproxy"] }, config)],
        validate: validate_command ? { key: "validate_command", command: validate_command } : undefined,
        reload: { key: "reload_command", command: config.reload_command },
        config,
      },
      deps,
    )
  },
})
