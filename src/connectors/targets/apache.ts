/**
 * Apache HTTP Server: PEM files, judged by `apachectl configtest`, taken up by a graceful restart that lets requests under
 * way end. The configuration test reads the configuration only: it finds a missing or empty file, but not a key of another
 * certificate, so that such a pair has to be refused before it gets here.
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

/** Red Hat, Debian, source builds. */
const apacheUsers = ["apache", "www-data", "httpd"]

export const apache = defineTarget({
  type: "Apache",
  label: "Apache HTTP Server",
  config: v.pipe(
    v.looseObject({
      cert_path: field(absolutePath(), "Certificate file", "What SSLCertificateFile names"),
      chain_path: field(
        v.optional(pathOrNone()),
        "Chain file",
        "What SSLCertificateChainFile names; left out, the chain follows the leaf in the certificate file (Apache 2.4.8 and later)",
      ),
      key_path: field(
        v.optional(pathOrNone()),
        "Key file",
        "What SSLCertificateKeyFile names; left out, no key is written",
      ),
      reload_command: field(
        v.optional(commandLine(), "apachectl graceful"),
        "Reload command",
        "Has Apache read the files without dropping connections",
      ),
      validate_command: field(
        v.optional(commandLine(), "apachectl configtest"),
        "Check command",
        "Judges the configuration with the new files before the reload",
      ),
      ...certFileFields,
      ...chainFileFields,
      ...keyFileFields,
      ...proofFields,
    }),
    v.check((config) => ownersAreComplete(config), ownersIncomplete),
  ),
  example: {
    cert_path: "/etc/apache2/tls/site.pem",
    key_path: "/etc/apache2/tls/site.key",
    verify_host: "www.example.com",
  },

  connect(config, deps) {
    const { cert, chain, key } = certChainKey(config, apacheUsers)
    return pemTarget(
      {
        product: "apache",
        files: [cert, ...key, ...chain],
        validate: { key: "validate_command", command: config.validate_command },
        reload: { key: "reload_command", command: config.reload_command },
        config,
      },
      deps,
    )
  },
})
