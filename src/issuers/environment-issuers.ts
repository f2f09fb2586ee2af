/** The issuers that the CERTCTL_* variables describe. Their configuration follows the variables until somebody edits the row. */
import type { StoredConfig } from "../connectors/stored-config"

export interface EnvironmentIssuer {
  readonly id: string
  readonly name: string
  readonly type: string
  readonly config: StoredConfig
}

export interface LocalCaSettings {
  readonly commonName: string
  readonly files: { readonly certPath: string; readonly keyPath: string } | null
}

export const environmentIssuers = ({ commonName, files }: LocalCaSettings): readonly EnvironmentIssuer[] => [
  {
    id: "iss-local",
    name: "Local CA",
    type: "GenericCA",
    config: {
      ca_common_name: commonName,
      validity_days: 90,
      ...(files === null ? {} : { ca_cert_path: files.certPath, ca_key_path: files.keyPath }),
    },
  },
]
