/** What the wiring starts from. */
import type { Clock } from "../clock"
import type { Config } from "../config"
import type { OutboundRules, ResolveHost } from "../connectors/outbound-address"
import type { Db } from "../db/db"
import type { OpenIssuer } from "../issuers/issuer.service"
import type { Sealer } from "../secrets/sealing"

export interface WiringOptions {
  readonly config: Config
  readonly db: Db
  readonly sealer: Sealer
  readonly clock: Clock
  /** Names this process in leases; the same again after a restart, so that it finds what is its own. */
  readonly serverId: string
  /** SHA-256 of the server's own CA certificate; empty when its certificate comes from elsewhere. */
  readonly caFingerprint: string
  /** Where ACME clients prove their names, instead of the well-known ports: for tests. */
  readonly acmeProofs?: { readonly port?: number; readonly rules?: OutboundRules; readonly resolve?: ResolveHost }
  /** Instead of the connectors that the issuers' rows name: for a CA that only a test knows. */
  readonly openIssuer?: (issuerId: string) => Promise<Pick<OpenIssuer, "type" | "inProcess" | "connector">>
}
