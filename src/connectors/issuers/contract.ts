/**
 * What an issuer connector is: the code that gets certificates from one CA product. Three methods are required; what only
 * some products can do is optional, and absent means "cannot": callers look first.
 */
import type * as v from "valibot"
import type { Clock } from "../../clock"
import type { Authority } from "../../pki/authority"
import type { CertificateFacts } from "../../pki/certificate"
import { type ConfigSchema, parseConfig } from "../config"

export interface IssueRequest {
  readonly csrPem: string
  readonly commonName: string
  /** Names the certificate must carry besides those of the CSR. */
  readonly sans: readonly string[]
  /** `serverAuth`, `clientAuth`, `codeSigning`, `emailProtection`, `timeStamping`; empty leaves it to the CA. */
  readonly ekus: readonly string[]
  /** 0: no limit. */
  readonly maxTtlSeconds: number
  /** The certificate must say that its server staples OCSP answers (RFC 7633). */
  readonly mustStaple: boolean
  /** The same for every attempt of one need, so that a CA that knows such keys does not issue twice. */
  readonly idempotencyKey: string
}

export interface Issued {
  readonly certPem: string
  /** The rest of the chain, nearest issuer first. */
  readonly chainPem: string
  /** The CA's own reference, where it has one. */
  readonly orderId?: string
  /** What `certPem` says, from a CA of this process that has just written it. */
  readonly facts?: IssuedFacts
}

export type IssuedFacts = Pick<CertificateFacts, "serial" | "notBefore" | "notAfter" | "fingerprint" | "spkiDer">

/** The CA decides later: `orderStatus` asks again. */
export interface Ordered {
  readonly orderId: string
}

export interface OrderStatus {
  readonly state: "pending" | "completed" | "failed"
  /** The CA's words, fit to be shown. */
  readonly message?: string
  /** Both are set when `state` is `completed`. */
  readonly certPem?: string
  readonly chainPem?: string
}

/** Reasons of a revocation with their codes (RFC 5280 section 5.3.1); no others are accepted anywhere. */
export const revocationReasonCodes = {
  unspecified: 0,
  keyCompromise: 1,
  caCompromise: 2,
  affiliationChanged: 3,
  superseded: 4,
  cessationOfOperation: 5,
  certificateHold: 6,
  privilegeWithdrawn: 9,
} as const

export type RevocationReason = keyof typeof revocationReasonCodes

export interface RevokeRequest {
  /** Lower-case hex. Several CAs cannot revoke from a bare serial in every setup, hence the rest. */
  readonly serial: string
  readonly reason: RevocationReason
  readonly orderId?: string
  readonly certPem?: string
  readonly issuerDn?: string
}

/** RFC 9773 section 4.2. */
export interface RenewalInfo {
  readonly windowStart: Date
  readonly windowEnd: Date
  readonly explanationUrl?: string
  readonly retryAfterSeconds?: number
}

export interface Issuer {
  /** Fails with `validation` when the request can never succeed, with `upstream` when the CA refused or did not answer. */
  issue(request: IssueRequest): Promise<Issued | Ordered>
  revoke(request: RevokeRequest): Promise<void>
  /** Throws the reason why the issuer could not be used now. */
  testConnection(): Promise<void>
  orderStatus?(orderId: string): Promise<OrderStatus>
  /** null: the CA has no advice for this certificate. */
  renewalInfo?(certPem: string): Promise<RenewalInfo | null>
  /** The CA's own certificates as PEM, issuing CA first; after a roll-over those of its former root too. */
  caChain?(): Promise<string>
  /**
   * The CAs whose keys are held here, for revocation lists and OCSP answers: the one that signs now first, then those that
   * signed before it. Absent where revocation is published by somebody else.
   */
  authorities?(): Promise<readonly Authority[]>
  /** Set where a root that is made and kept here signs. `crlUrls`: its lists are published there, null: where the server says. */
  readonly heldRoot?: { readonly crlUrls: readonly string[] | null }
}

export interface PublicUrls {
  readonly crl: readonly string[]
  readonly ocsp: readonly string[]
  /** Of the CA's own certificate. */
  readonly caCertificate: readonly string[]
}

export interface IssuerDeps {
  readonly fetch: typeof globalThis.fetch
  readonly clock: Clock
  /** The persistent CA of this issuer, made on first use. `commonName` only matters then. */
  heldAuthority(options: { commonName?: string }): Promise<Authority>
  /** All that this issuer ever signed with, the active one first; made on first use like it. */
  heldAuthorities(options: { commonName?: string }): Promise<readonly Authority[]>
  /** The CA in two PEM files of the server's host. Fails with `upstream`, saying what is wrong with which file. */
  authorityFromFiles(paths: { certPath: string; keyPath: string }): Promise<Authority>
  /** How far `notBefore` lies in the past in what the local CA signs. */
  readonly backdateMs: number
  /** What this server publishes about a CA of this issuer, and where; empty when nowhere. */
  publicUrls(authority: Authority): PublicUrls
}

/** A connector as the catalog holds it: the configuration's type is known only inside. */
export interface IssuerDefinition {
  /** Stored and shown. */
  readonly type: string
  /** Accepted on input, in any case; the type itself is always accepted so. */
  readonly aliases: readonly string[]
  readonly label: string
  readonly config: ConfigSchema
  readonly example: Readonly<Record<string, unknown>>
  /**
   * `issue` has no effect outside this process: when it dies before its transaction commits, nothing was issued. Everything
   * else needs a durable intent before the call.
   */
  readonly inProcess: boolean
  /** Parses the configuration (fails with `validation`) and connects. Opens nothing yet. */
  open(rawConfig: unknown, deps: IssuerDeps): Issuer
}

export const defineIssuer = <S extends ConfigSchema>(connector: {
  type: string
  aliases: readonly string[]
  label: string
  config: S
  example: v.InferInput<S> & Record<string, unknown>
  inProcess?: true
  connect(config: v.InferOutput<S>, deps: IssuerDeps): Issuer
}): IssuerDefinition => ({
  type: connector.type,
  aliases: connector.aliases,
  label: connector.label,
  config: connector.config,
  example: connector.example,
  inProcess: connector.inProcess ?? false,
  open: (rawConfig, deps) => connector.connect(parseConfig(connector.config, rawConfig), deps),
})
