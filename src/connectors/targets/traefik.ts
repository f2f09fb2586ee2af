/**
 * Traefik: two PEM files in the folder that its file provider watches. There is no command to run: Traefik sees the new files
 * come into place and reads them.
 */
import { join } from "node:path"
import * as v from "valibot"
import { field } from "../config"
import { defineTarget } from "./contract"
import {
  absoluteFolder,
  certFileFields,
  fileName,
  keyFileFields,
  ownersAreComplete,
  ownersIncomplete,
  proofAttempts,
  proofFields,
} from "./file-target"
import { certificateFile, keyFile, pemTarget } from "./pem-target"

export const traefik = defineTarget({
  type: "Traefik",
  label: "Traefik",
  config: v.pipe(
    v.looseObject({
      cert_dir: field(absoluteFolder(), "Folder", "The folder that Traefik's file provider watches"),
      cert_file: field(v.optional(fileName(), "cert.pem"), "Certificate file", "What certFile names, in that folder"),
      key_file: field(v.optional(fileName(), "key.pem"), "Key file", "What keyFile names, in that folder"),
      ...certFileFields,
      ...keyFileFields,
      ...proofFields,
      // It gathers changes for two seconds, or for longer where it is told so: three attempts are over after three.
      post_deploy_verify_attempts: proofAttempts(5),
    }),
    v.check((config) => ownersAreComplete(config), ownersIncomplete),
  ),
  example: { cert_dir: "/etc/traefik/dynamic", verify_host: "www.example.com" },

  connect(config, deps) {
    const users = ["traefik"]
    const at = (name: string) => join(config.cert_dir, name)
    return pemTarget(
      {
        product: "traefik",
        files: [
          certificateFile({ key: "cert_file", path: at(config.cert_file), users }, config),
          keyFile({ key: "key_file", path: at(config.key_file), users }, config),
        ],
        config,
      },
      deps,
    )
  },
})
