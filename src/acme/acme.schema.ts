/** What ACME clients send in the payloads of their requests, and how they see accounts, orders, authorizations and challenges. */
import * as v from "valibot"
import {
  accountStatuses,
  authorizationStatuses,
  challengeStatuses,
  challengeTypes,
  orderStatuses,
} from "../db/tables/acme.tables"
import { requiredTime, WireTime } from "../server/wire"
import type { AccountRow } from "./account.store"
import type { AuthorizationRow, ChallengeRow, OrderRow } from "./order.store"

interface Urls {
  /** The door's. */
  readonly base: string
}

const Text = (longest: number) => v.pipe(v.string(), v.maxLength(longest))
const Jws = v.looseObject({})

export const NewAccountPayload = v.object({
  contact: v.optional(v.pipe(v.array(Text(320)), v.maxLength(10))),
  termsOfServiceAgreed: v.optional(v.boolean(), false),
  onlyReturnExisting: v.optional(v.boolean(), false),
  externalAccountBinding: v.optional(Jws),
})

export const AccountPayload = v.object({
  contact: v.optional(v.pipe(v.array(Text(320)), v.maxLength(10))),
  status: v.optional(v.string()),
})

export const KeyChangePayload = v.object({ account: Text(2048), oldKey: Jws })

export const NewOrderPayload = v.object({
  identifiers: v.pipe(
    v.array(v.object({ type: Text(64), value: Text(1024) })),
    v.minLength(1),
    v.maxLength(100, "must have at most 100 entries"),
  ),
  notBefore: v.optional(v.unknown()),
  notAfter: v.optional(v.unknown()),
  replaces: v.optional(Text(256)),
})

export const FinalizePayload = v.object({ csr: Text(100_000) })

export const AuthorizationPayload = v.object({ status: v.optional(v.string()) })

export const RevocationPayload = v.object({ certificate: Text(100_000), reason: v.optional(v.unknown()) })

const Identifier = v.object({ type: v.string(), value: v.string() })
const Problem = v.object({ type: v.string(), detail: v.string(), status: v.number() })

export const DirectoryAnswer = v.pipe(
  v.object({
    newNonce: v.string(),
    newAccount: v.string(),
    newOrder: v.string(),
    keyChange: v.string(),
    revokeCert: v.string(),
    renewalInfo: v.optional(v.string()),
    meta: v.object({
      termsOfService: v.optional(v.string()),
      website: v.optional(v.string()),
      caaIdentities: v.optional(v.array(v.string())),
      externalAccountRequired: v.boolean(),
    }),
  }),
  v.metadata({ ref: "AcmeDirectory" }),
)

export const AccountAnswer = v.pipe(
  v.object({ status: v.picklist(accountStatuses), contact: v.array(v.string()) }),
  v.metadata({ ref: "AcmeAccount" }),
)

export const OrderAnswer = v.pipe(
  v.object({
    status: v.picklist(orderStatuses),
    expires: WireTime,
    identifiers: v.array(Identifier),
    authorizations: v.array(v.string()),
    finalize: v.string(),
    certificate: v.optional(v.string()),
    error: v.optional(Problem),
  }),
  v.metadata({ ref: "AcmeOrder" }),
)

export const ChallengeAnswer = v.pipe(
  v.object({
    type: v.picklist(challengeTypes),
    url: v.string(),
    status: v.picklist(challengeStatuses),
    token: v.string(),
    validated: v.optional(WireTime),
    error: v.optional(Problem),
  }),
  v.metadata({ ref: "AcmeChallenge" }),
)

export const AuthorizationAnswer = v.pipe(
  v.object({
    identifier: Identifier,
    status: v.picklist(authorizationStatuses),
    expires: WireTime,
    challenges: v.array(ChallengeAnswer),
    wildcard: v.optional(v.boolean()),
  }),
  v.metadata({ ref: "AcmeAuthorization" }),
)

export const RenewalInfoAnswer = v.pipe(
  v.object({ suggestedWindow: v.object({ start: WireTime, end: WireTime }) }),
  v.metadata({ ref: "AcmeRenewalInfo" }),
)

interface DirectorySettings {
  readonly renewalInfo: boolean
  readonly termsOfServiceUrl: string | null
  readonly websiteUrl: string | null
  readonly caaIdentities: readonly string[]
  readonly externalAccountRequired: boolean
}

export const directoryView = ({ base }: Urls, settings: DirectorySettings) => ({
  newNonce: `${base}/new-nonce`,
  newAccount: `${base}/new-account`,
  newOrder: `${base}/new-order`,
  keyChange: `${base}/key-change`,
  revokeCert: `${base}/revoke-cert`,
  ...(settings.renewalInfo ? { renewalInfo: `${base}/renewal-info` } : {}),
  meta: {
    ...(settings.termsOfServiceUrl === null ? {} : { termsOfService: settings.termsOfServiceUrl }),
    ...(settings.websiteUrl === null ? {} : { website: settings.websiteUrl }),
    ...(settings.caaIdentities.length === 0 ? {} : { caaIdentities: settings.caaIdentities }),
    externalAccountRequired: settings.externalAccountRequired,
  },
})

export const accountView = ({ status, contact }: AccountRow) => ({ status, contact })

export const orderView = (order: OrderRow, authorizations: readonly AuthorizationRow[], { base }: Urls) => ({
  status: order.status,
  expires: requiredTime(order.expiresAt),
  identifiers: order.identifiers,
  authorizations: authorizations.map(({ id }) => `${base}/authz/${id}`),
  finalize: `${base}/order/${order.id}/finalize`,
  ...(order.versionId === null || order.status !== "valid" ? {} : { certificate: `${base}/cert/${order.versionId}` }),
  ...(order.error === null ? {} : { error: order.error }),
})

export const challengeView = (challenge: ChallengeRow, { base }: Urls) => ({
  type: challenge.type,
  url: `${base}/challenge/${challenge.id}`,
  status: challenge.status,
  token: challenge.token,
  ...(challenge.validatedAt === null ? {} : { validated: requiredTime(challenge.validatedAt) }),
  ...(challenge.error === null ? {} : { error: challenge.error }),
})

export const authorizationView = (
  authorization: AuthorizationRow,
  challenges: readonly ChallengeRow[],
  urls: Urls,
) => ({
  identifier: authorization.identifier,
  status: authorization.status,
  expires: requiredTime(authorization.expiresAt),
  // RFC 8555 section 7.1.4: of a settled one, only the challenge that settled it.
  challenges: challenges
    .filter(({ status }) => authorization.status === "pending" || status === "valid" || status === "invalid")
    .map((challenge) => challengeView(challenge, urls)),
  ...(authorization.wildcard ? { wildcard: true } : {}),
})
