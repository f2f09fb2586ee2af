/**
 * Envoy: PEM files and, where asked for, the `sds.json` that names them. Envoy acts on files that are moved into place, which is
 * how the deploy engine writes. `sds.json` comes last and differs with every certificate, so that certificate and key are
 * taken up together.
 */
import { join } from "node:path"
import * as v from "valibot"
import { fingerprintOf } from "../../pki/certificate"
import { certificateBlocks } from "../../pki/pem"
import { field } from "../config"
import { defineTarget, type Material } from "./contract"
import {
  absoluteFolder,
  certFileFields,
  chainFileFields,
  fileName,
  keyFileFields,
  ownersAreComplete,
  ownersIncomplete,
  proofFields,
} from "./file-target"
import { certificateFile, chainFile, fullChain, keyFile, leafOnly, type PemFile, pemTarget } from "./pem-target"

export const envoy = defineTarget({
  type: "Envoy",
  label: "Envoy",
  config: v.pipe(
    v.looseObject({
      cert_dir: field(absoluteFolder(), "Folder", "Takes the files; Envoy has to be able to read it"),
      cert_filename: field(
        v.optional(fileName(), "cert.pem"),
        "Certificate file",
        "What certificate_chain names, in that folder",
      ),
      key_filename: field(v.optional(fileName(), "key.pem"), "Key file", "What private_key names, in that folder"),
      chain_filename: field(
        v.optional(v.union([v.literal(""), fileName()])),
        "Chain file",
        "Takes the chain alone, which Envoy does not read; left out, the chain follows the leaf in the certificate file",
      ),
      sds_config: field(
        v.optional(v.boolean(), false),
        "Write sds.json",
        "The secret named server_cert, for path_config_source: how Envoy takes up certificate and key without a restart",
      ),
      ...certFileFields,
      ...chainFileFields,
      ...keyFileFields,
      ...proofFields,
    }),
    v.check((config) => ownersAreComplete(config), ownersIncomplete),
  ),
  example: { cert_dir: "/etc/envoy/tls", sds_config: true, verify_host: "www.example.com" },

  connect(config, deps) {
    const users = ["envoy"]
    const at = (name: string) => join(config.cert_dir, name)
    const chainName = config.chain_filename || null
    const cert = certificateFile(
      { key: "cert_filename", path: at(config.cert_filename), users },
      config,
      chainName === null ? fullChain : leafOnly,
    )
    const key = keyFile({ key: "key_filename", path: at(config.key_filename), users }, config)
    const target = pemTarget(
      {
        product: "envoy",
        files: [
          cert,
          key,
          ...(chainName === null ? [] : [chainFile({ key: "chain_filename", path: at(chainName), users }, config)]),
          ...(config.sds_config ? [secretFile(at("sds.json"), cert.path, key.path, users)] : []),
        ],
        config,
      },
      deps,
    )
    return {
      ...target,
      plan(material) {
        if (chainName !== null && material.chainPem !== "") {
          deps.warn(`chain_filename: Envoy does not read ${chainName}, so clients get the leaf without its chain`)
        }
        return target.plan(material)
      },
    }
  },
})

/** The discovery response that holds one secret (envoy.extensions.transport_sockets.tls.v3.Secret) as Envoy reads it from a file. */
const secretFile = (path: string, certPath: string, keyPath: string, users: readonly string[]): PemFile => ({
  key: "sds_config",
  path,
  isKey: false,
  defaultMode: 0o644,
  defaultUsers: users,
  content: (material) =>
    `${JSON.stringify({
      version_info: leafFingerprint(material),
      resources: [
        {
          "@type": "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.Secret",
          name: "server_cert",
          tls_certificate: { certificate_chain: { filename: certPath }, private_key: { filename: keyPath } },
        },
      ],
    })}\n`,
})

const leafFingerprint = ({ certPem }: Material): string => {
  const [der] = certificateBlocks(certPem)
  return der === undefined ? "" : fingerprintOf(der)
}
