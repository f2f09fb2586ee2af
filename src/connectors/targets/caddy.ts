/**
 * Caddy, by its admin API or by files. The API changes the running configuration: Caddy takes up the certificate at once, refuses
 * a pair that does not match and keeps what it had. Caddy does not watch certificate files, so in file mode it reads them when
 * the reload command runs, or when it starts.
 */
import { join } from "node:path"
import * as v from "valibot"
import { messageOf } from "../../errors"
import { field } from "../config"
import { caddyAdmin, type LoadedPem } from "./caddy-admin.client"
import { type DeployPlan, defineTarget, type Material, type Target } from "./contract"
import {
  absoluteFolder,
  certFileFields,
  commandLine,
  fileName,
  keyFileFields,
  ownersAreComplete,
  ownersIncomplete,
  proofFields,
  proofSteps,
  retentionIn,
} from "./file-target"
import { certificateFile, deploymentId, fullChain, joinPem, keyFile, pemTarget } from "./pem-target"

/** What is wrong with the address of an admin API, or null. Keys are sent to it. */
const addressProblem = (address: string): string | null => {
  const url = URL.parse(address)
  if (url === null || !["http:", "https:"].includes(url.protocol)) return "must be an http or https URL"
  if (url.username !== "" || url.password !== "") return "must not hold credentials"
  if (url.search !== "" || url.hash !== "" || /[\s\\]/.test(address)) {
    return "must be a base URL without query, fragment, blanks and backslashes"
  }
  const isThisHost = /^(localhost|127(\.\d+){3}|\[::1\])$/.test(url.hostname)
  if (url.protocol === "http:" && !isThisHost) return "must be https unless it is this host's own (localhost)"
  return null
}

const adminAddress = v.pipe(
  v.string(),
  v.rawCheck(({ dataset, addIssue }) => {
    const problem = dataset.typed ? addressProblem(dataset.value) : null
    if (problem !== null) addIssue({ message: problem })
  }),
)

export const caddy = defineTarget({
  type: "Caddy",
  label: "Caddy",
  config: v.pipe(
    v.looseObject({
      mode: field(
        v.optional(v.picklist(["api", "file"], "must be api or file"), "api"),
        "Mode",
        "api changes the running configuration, file writes two PEM files",
      ),
      admin_api: field(
        v.optional(adminAddress, "http://localhost:2019"),
        "Admin API",
        "Base URL of Caddy's admin API; it is sent the key",
      ),
      cert_dir: field(
        v.optional(absoluteFolder()),
        "Folder",
        "Takes the files: required in file mode; in api mode they are written when the API cannot be used",
      ),
      cert_file: field(v.optional(fileName(), "cert.pem"), "Certificate file", "Its name in that folder"),
      key_file: field(v.optional(fileName(), "key.pem"), "Key file", "Its name in that folder"),
      reload_command: field(
        v.optional(commandLine()),
        "Reload command",
        "Runs after files were written, as in: caddy reload --config /etc/caddy/Caddyfile --force; left out, Caddy reads them when it starts",
      ),
      ...certFileFields,
      ...keyFileFields,
      ...proofFields,
    }),
    v.check((config) => ownersAreComplete(config), ownersIncomplete),
    v.forward(
      v.check(({ mode, cert_dir }) => mode === "api" || cert_dir !== undefined, "must be given in file mode"),
      ["cert_dir"],
    ),
  ),
  example: {
    mode: "api",
    admin_api: "http://localhost:2019",
    cert_dir: "/etc/caddy/tls",
    verify_host: "www.example.com",
  },

  connect(config, deps) {
    const { cert_dir, reload_command } = config
    const users = ["caddy"]
    const files: Target | null =
      cert_dir === undefined
        ? null
        : pemTarget(
            {
              product: "caddy-file",
              files: [
                certificateFile({ key: "cert_file", path: join(cert_dir, config.cert_file), users }, config),
                keyFile({ key: "key_file", path: join(cert_dir, config.key_file), users }, config),
              ],
              reload: reload_command === undefined ? undefined : { key: "reload_command", command: reload_command },
              config,
            },
            deps,
          )
    if (config.mode === "file" && files !== null) return files

    const admin = caddyAdmin(config.admin_api)
    const apiPlan = (material: Material): DeployPlan => {
      const tag = `certctl:${material.certificateId}`
      const entry = { certificate: fullChain(material), key: joinPem(material.keyPem), tags: [tag] }
      // Kept for going back; undefined until something was about to be changed.
      let previous: LoadedPem | null | undefined
      return {
        address: config.admin_api,
        deploymentId: deploymentId("caddy-api", deps.clock.now()),
        files: [],
        locks: [`the admin API at ${config.admin_api}`],
        steps: [
          {
            kind: "action",
            name: "loading the certificate into Caddy",
            run: () =>
              admin.replace(tag, entry, (found) => {
                previous = found
              }),
            async undo() {
              if (previous !== undefined) await admin.restore(tag, previous)
            },
          },
          ...proofSteps(config),
        ],
        // The key is not compared: Caddy refuses one that does not belong to the certificate.
        isInPlace: async () => (await admin.tagged(tag))?.certificate.trim() === entry.certificate.trim(),
        backupRetention: retentionIn(config.backup_retention),
      }
    }

    /** Whether the API cannot be used and there is a folder to fall back to. Fails when there is none. */
    const mustUseFiles = async (): Promise<boolean> => {
      try {
        await admin.ping()
        return false
      } catch (error) {
        if (files === null) throw error
        const taken = reload_command === undefined ? "Caddy reads them when it is reloaded" : "reload_command follows"
        deps.warn(`${messageOf(error)}; files in ${cert_dir} take its place (method=file), ${taken}`)
        return true
      }
    }

    return {
      // Decided before anything is changed. A change that Caddy refuses later is a failure: it read the certificate and said no.
      plan: async (material) => (files !== null && (await mustUseFiles()) ? files.plan(material) : apiPlan(material)),
      async check() {
        if (await mustUseFiles()) await files?.check?.()
      },
    }
  },
})
