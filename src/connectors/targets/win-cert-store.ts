/**
 * The certificate store of a Windows host, for services that find their certificate there (Remote Desktop, SQL Server, Exchange).
 * Nothing in the store is replaced: the new certificate stands beside the old ones, so going back is taking it out again.
 */
import * as v from "valibot"
import { field, optionalSecret } from "../config"
import { runScript } from "../powershell"
import { defineTarget } from "./contract"
import { proofFields, proofSteps } from "./file-target"
import { winCertStoreScripts } from "./windows.scripts"
import {
  Done,
  modeFields,
  pfxInput,
  powerShellHost,
  scriptedAction,
  thumbprintOf,
  type WinRmConfig,
  windowsName,
  winRmFields,
  winRmWords,
} from "./windows-host"

// Nothing is backed up in files here.
const { backup_retention: _, ...proof } = proofFields

const Seen = v.object({ ok: v.literal(true), state: v.string(), friendly_name: v.string(), was_present: v.boolean() })

const neededByWinRm = ["winrm_host", "winrm_username", "winrm_password"] as const
const isGiven = (config: { mode: string }, key: (typeof neededByWinRm)[number]): boolean =>
  config.mode !== "winrm" || Boolean(Reflect.get(config, key))
const notGiven = "must be given in mode winrm"

export const winCertStore = defineTarget({
  type: "WinCertStore",
  label: "Windows certificate store",
  config: v.pipe(
    v.looseObject({
      store_name: field(v.optional(windowsName(), "My"), "Store", "As in My, WebHosting or Remote Desktop"),
      store_location: field(
        v.optional(v.picklist(["LocalMachine", "CurrentUser"]), "LocalMachine"),
        "Location",
        "LocalMachine, or CurrentUser: the account that PowerShell runs as",
      ),
      friendly_name: field(v.optional(windowsName()), "Friendly name", "Shown in the certificate console"),
      remove_expired: field(
        v.optional(v.boolean(), false),
        "Remove expired",
        "Removes expired certificates with the same subject once the new one is proven",
      ),
      winrm_host: field(v.optional(winRmFields.winrm_host), ...winRmWords.host),
      winrm_port: field(v.optional(winRmFields.winrm_port), ...winRmWords.port),
      winrm_username: field(v.optional(winRmFields.winrm_username), ...winRmWords.username),
      winrm_password: v.pipe(
        optionalSecret(...winRmWords.password),
        v.check(
          (password) => password === undefined || v.safeParse(winRmFields.winrm_password, password).success,
          "must be 1 to 512 characters without control characters",
        ),
      ),
      winrm_https: field(v.optional(v.boolean(), false), ...winRmWords.https),
      winrm_insecure: field(v.optional(v.boolean(), false), ...winRmWords.insecure),
      winrm_timeout: field(v.optional(winRmFields.winrm_timeout, 60), ...winRmWords.timeout),
      ...modeFields,
      ...proof,
    }),
    v.forward(
      v.check((config) => isGiven(config, "winrm_host"), notGiven),
      ["winrm_host"],
    ),
    v.forward(
      v.check((config) => isGiven(config, "winrm_username"), notGiven),
      ["winrm_username"],
    ),
    v.forward(
      v.check((config) => isGiven(config, "winrm_password"), notGiven),
      ["winrm_password"],
    ),
  ),
  example: { store_name: "My", friendly_name: "web", remove_expired: true },

  connect(config, deps) {
    const remote: WinRmConfig | null =
      config.mode === "winrm"
        ? {
            host: config.winrm_host ?? "",
            port: config.winrm_port,
            username: config.winrm_username ?? "",
            password: config.winrm_password ?? "",
            https: config.winrm_https,
            insecure: config.winrm_insecure,
            timeoutSeconds: config.winrm_timeout,
          }
        : null
    const host = powerShellHost(remote, deps)
    const run = <S extends v.GenericSchema>(script: string, input: object, answer: S) =>
      runScript(host, { script, input, timeoutMs: config.exec_deadline * 1000, answer })
    const place = { store_location: config.store_location, store_name: config.store_name }

    return {
      plan(material) {
        const thumbprint = thumbprintOf(material.certPem)
        const input = { ...place, thumbprint }
        let before = { was_present: true, friendly_name: "" }
        return {
          address: `cert:\\${place.store_location}\\${place.store_name}`,
          deploymentId: thumbprint,
          files: [],
          // Two at once would each see half of what the other changes.
          locks: [`PowerShell on ${host.place}`],
          steps: [
            scriptedAction({
              name: "the import into the Windows store",
              before: () => before,
              deploy() {
                if (remote?.https === true && remote.insecure) {
                  deps.warn(`winrm_insecure: the certificate of ${host.place} is not checked`)
                }
                const pfx = pfxInput(material, config.pfx_legacy)
                return run(
                  winCertStoreScripts.deploy,
                  { ...input, ...pfx, friendly_name: config.friendly_name ?? "" },
                  Done,
                )
              },
              restore: (previous) => run(winCertStoreScripts.restore, { ...input, ...previous }, Done),
              // Only now: until the new one is proven nothing leaves the store.
              async settle() {
                if (config.remove_expired) await run(winCertStoreScripts.removeExpired, input, Done)
              },
            }),
            ...proofSteps(config),
          ],
          async isInPlace() {
            const { state, friendly_name, was_present } = await run(winCertStoreScripts.state, input, Seen)
            before = { friendly_name, was_present }
            return state === "VALID" && (config.friendly_name ?? friendly_name) === friendly_name
          },
          backupRetention: undefined,
        }
      },

      async check() {
        await run(winCertStoreScripts.check, { ...place, thumbprint: "" }, Done)
      },
    }
  },
})
