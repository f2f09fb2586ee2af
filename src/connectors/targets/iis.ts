/**
 * IIS on Windows Server 2012 and newer: the certificate goes into a store of the machine and onto one https binding of a site.
 * Everything that changes happens in one PowerShell run at the Windows host, which goes back by itself when a step fails; an
 * agent that is killed meanwhile leaves a run that ends either way, and the next deployment finds what it left.
 */
import * as v from "valibot"
import { field } from "../config"
import { runScript } from "../powershell"
import { defineTarget } from "./contract"
import { proofFields, proofSteps } from "./file-target"
import { iisScripts } from "./windows.scripts"
import {
  Done,
  modeFields,
  pfxInput,
  portNumber,
  powerShellHost,
  scriptedAction,
  thumbprintOf,
  windowsName,
  winRmFields,
  winRmWords,
} from "./windows-host"

const ipv4 = /^(25[0-5]|2[0-4]\d|1?\d?\d)(\.(25[0-5]|2[0-4]\d|1?\d?\d)){3}$/

// Nothing is backed up in files here.
const { backup_retention: _, ...proof } = proofFields

const winRm = v.object({
  winrm_host: field(winRmFields.winrm_host, ...winRmWords.host),
  winrm_port: field(v.optional(winRmFields.winrm_port), ...winRmWords.port),
  winrm_username: field(winRmFields.winrm_username, ...winRmWords.username),
  winrm_password: v.pipe(field(winRmFields.winrm_password, ...winRmWords.password), v.metadata({ secret: true })),
  winrm_https: field(v.optional(v.boolean(), false), ...winRmWords.https),
  winrm_insecure: field(v.optional(v.boolean(), false), ...winRmWords.insecure),
  winrm_timeout: field(v.optional(winRmFields.winrm_timeout, 60), ...winRmWords.timeout),
})

const Place = v.object({
  ip: v.string(),
  port: v.number(),
  host_header: v.string(),
  ssl_flags: v.number(),
  thumbprint: v.string(),
  store_name: v.string(),
})

/** What is there: whether it is what we want, and what it takes to come back to it. */
const Seen = v.object({ ok: v.literal(true), state: v.string(), before: v.array(Place), was_present: v.boolean() })

/** A host header, or a binding as IIS writes it (`*:443:www.example.com`), of which the last part is the host header. */
const hostHeaderIn = (bindingInfo: string): string => bindingInfo.slice(bindingInfo.lastIndexOf(":") + 1)

export const iis = defineTarget({
  type: "IIS",
  label: "IIS",
  config: v.pipe(
    v.looseObject({
      hostname: field(
        v.optional(v.pipe(v.string(), v.maxLength(253, "must be at most 253 characters"))),
        "Host name",
        "Name of the host; with port also where the certificate must be served afterwards",
      ),
      site_name: field(windowsName(), "Site", "Name of the IIS site, as in Default Web Site"),
      cert_store: field(windowsName(), "Certificate store", "Store of the local machine: My or WebHosting"),
      port: field(v.optional(portNumber(), 443), "Port", "Port of the https binding"),
      sni: field(
        v.optional(v.boolean(), false),
        "SNI",
        "Only the binding with the same host header is replaced, not the one of the port",
      ),
      ip_address: field(
        v.optional(
          v.pipe(
            v.string(),
            v.check((ip) => ip === "*" || ipv4.test(ip), "must be * or an IPv4 address"),
          ),
          "*",
        ),
        "IP address",
        "Address of the binding; * for all",
      ),
      binding_info: field(
        v.optional(
          v.pipe(
            v.string(),
            v.maxLength(512, "must be at most 512 characters"),
            v.regex(/^[a-zA-Z0-9*:.-]*$/, "must be a host header: letters, digits and * : . - only"),
          ),
          "",
        ),
        "Host header",
        "Host header of the binding; needed with SNI",
      ),
      winrm: field(v.optional(winRm), "WinRM", "How to reach the host in mode winrm"),
      ...modeFields,
      ...proof,
    }),
    v.forward(
      v.check(({ mode, winrm }) => mode !== "winrm" || winrm !== undefined, "must be given in mode winrm"),
      ["winrm"],
    ),
    v.forward(
      v.check(({ sni, binding_info }) => !sni || hostHeaderIn(binding_info) !== "", "must be given with sni"),
      ["binding_info"],
    ),
  ),
  example: { site_name: "Default Web Site", cert_store: "My", hostname: "www.example.com" },

  connect(config, deps) {
    const remote =
      config.mode === "winrm" && config.winrm !== undefined
        ? {
            host: config.winrm.winrm_host,
            port: config.winrm.winrm_port,
            username: config.winrm.winrm_username,
            password: config.winrm.winrm_password,
            https: config.winrm.winrm_https,
            insecure: config.winrm.winrm_insecure,
            timeoutSeconds: config.winrm.winrm_timeout,
          }
        : null
    const host = powerShellHost(remote, deps)
    const run = <S extends v.GenericSchema>(script: string, input: object, answer: S) =>
      runScript(host, { script, input, timeoutMs: config.exec_deadline * 1000, answer })
    const place = {
      site_name: config.site_name,
      store_location: "LocalMachine",
      store_name: config.cert_store,
      ip: config.ip_address,
      port: config.port,
      host_header: hostHeaderIn(config.binding_info),
      ssl_flags: config.sni ? 1 : 0,
    }

    // With SNI the site answers to its host header only.
    const proofConfig =
      config.sni && config.verify_server_name === undefined && !place.host_header.includes("*")
        ? { ...config, verify_server_name: place.host_header }
        : config

    return {
      plan(material) {
        const thumbprint = thumbprintOf(material.certPem)
        const input = { ...place, thumbprint }
        let before: Pick<v.InferOutput<typeof Seen>, "before" | "was_present"> = { before: [], was_present: true }
        return {
          address: `${place.site_name} (${place.ip}:${place.port}:${place.host_header}) on ${host.place}`,
          deploymentId: `iis-${thumbprint.slice(0, 8)}-${Math.floor(deps.clock.now().getTime() / 1000)}`,
          files: [],
          // Two at once would each see half of what the other changes.
          locks: [`PowerShell on ${host.place}`],
          steps: [
            scriptedAction({
              name: "the IIS deployment",
              before: () => before,
              deploy() {
                if (remote?.https === true && remote.insecure) {
                  deps.warn(`winrm_insecure: the certificate of ${host.place} is not checked`)
                }
                return run(iisScripts.deploy, { ...input, ...pfxInput(material, config.pfx_legacy) }, Done)
              },
              restore: (previous) => run(iisScripts.restore, { ...input, ...previous }, Done),
            }),
            ...proofSteps(proofConfig),
          ],
          async isInPlace() {
            const seen = await run(iisScripts.state, input, Seen)
            before = { before: seen.before, was_present: seen.was_present }
            return seen.state === "VALID"
          },
          backupRetention: undefined,
        }
      },

      async check() {
        await run(iisScripts.check, { ...place, thumbprint: "" }, Done)
      },
    }
  },
})
