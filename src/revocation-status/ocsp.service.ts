/**
 * Answers whether a certificate is good, revoked or unknown (RFC 6960). What is known of a certificate is kept for some minutes, and
 * so are the answers without a nonce; a revocation takes both away at once.
 */
import type { Clock } from "../clock"
import { revocationReasonCodes } from "../connectors/issuers/contract"
import { AppError } from "../errors"
import type { Authority } from "../pki/authority"
import { parseCertificate, splitChain } from "../pki/certificate"
import {
  type CertId,
  type CertStatus,
  certIdMatcher,
  certIdOf,
  ocspErrorResponse,
  parseOcspRequest,
  signOcspResponse,
} from "../pki/ocsp"
import type { ResponderService } from "./responder.service"
import type { RevocationStatusStore } from "./revocation.store"
import type { RevocationFeed } from "./revocation-feed"

interface Deps {
  revocations: Pick<RevocationStatusStore, "revocation" | "version">
  responders: Pick<ResponderService, "responderFor">
  feed: Pick<RevocationFeed, "hear" | "settle">
  /** Empty where somebody else publishes revocation. Fails with `not_found`. */
  authoritiesOf: (issuerId: string) => Promise<readonly Authority[]>
  clock: Clock
  count: (event: OcspEvent) => void
}

export const ocspEvents = [
  "request_get",
  "request_post",
  "request_success",
  "request_invalid",
  "issuer_not_found",
  "cert_not_found",
  "signing_failed",
  "nonce_echoed",
  "nonce_malformed",
  "rate_limited",
] as const
export type OcspEvent = (typeof ocspEvents)[number]

interface Signatory {
  readonly authority: Authority
  readonly isOurs: (id: CertId) => boolean
  readonly certId: (serial: string) => Buffer
}

interface Signatories {
  readonly all: readonly Signatory[]
  readonly active: Signatory
  readonly readAt: number
}

/** What is known of one certificate. */
interface Kept {
  /** null: nothing yet, or nothing that may be kept. */
  status: { readonly certStatus: CertStatus; readonly at: number } | null
  /** By CertID, of which clients use one or two forms. */
  readonly answers: Map<string, { readonly der: Buffer; readonly at: number }>
}

export interface OcspAnswer {
  readonly der: Buffer
  /** False for an answer to one asker only. */
  readonly isCacheable: boolean
}

const good: CertStatus = { status: "good" }
const unknown: CertStatus = { status: "unknown" }
const lifeMs = 3_600_000
const keptMs = 5 * 60_000
/** Issuers change rarely; a roll-over is noticed after this time. */
const signatoriesMs = 1000
const mostKept = 20_000

/** The spellings under which a serial may be stored: certificates of the local CA have 40 digits, others what their CA wrote. */
const spellings = (serial: string): string[] => {
  const digits = serial.replace(/^0+(?=.)/, "")
  const even = digits.length % 2 === 0 ? digits : `0${digits}`
  return [...new Set([digits, even, digits.padStart(40, "0")])]
}

const reasonCode = (reason: string): number =>
  reason in revocationReasonCodes ? revocationReasonCodes[reason as keyof typeof revocationReasonCodes] : 0

export const ocspService = ({ revocations, responders, feed, authoritiesOf, clock, count }: Deps) => {
  const known = new Map<string, Signatories>()
  /** By issuer and serial, oldest first. */
  const kept = new Map<string, Kept>()
  const keyOf = (issuerId: string, serial: string): string => `${issuerId} ${serial.replace(/^0+(?=.)/, "")}`

  feed.hear((revoked) => {
    if (revoked === null) kept.clear()
    else kept.delete(keyOf(revoked.issuerId, revoked.serial))
  })

  const signatoriesOf = async (issuerId: string, isFresh = false): Promise<Signatories> => {
    const now = clock.now().getTime()
    const cached = known.get(issuerId)
    if (!isFresh && cached !== undefined && Math.abs(now - cached.readAt) < signatoriesMs) return cached
    const authorities = await authoritiesOf(issuerId)
    const all = authorities.map((authority, at) => {
      const before = cached?.all[at]
      // Keeps the hashes that were computed already.
      if (before?.authority === authority) return before
      return { authority, isOurs: certIdMatcher(authority), certId: certIdOf(authority) }
    })
    const [active] = all
    if (active === undefined) {
      throw new AppError("not_supported", `issuer ${issuerId} does not answer OCSP here: ask its CA`)
    }
    const signatories = { all, active, readAt: now }
    known.set(issuerId, signatories)
    return signatories
  }

  const storedStatus = async (issuerId: string, serial: string): Promise<CertStatus> => {
    const serials = spellings(serial)
    const [revoked, version] = await Promise.all([
      revocations.revocation(issuerId, serials),
      revocations.version(issuerId, serials),
    ])
    if (version?.shortLived === true) return good
    if (revoked !== null) {
      return { status: "revoked", revokedAt: revoked.revokedAt, reasonCode: reasonCode(revoked.reason) }
    }
    if (version === null) count("cert_not_found")
    return version === null ? unknown : good
  }

  /** Where something about a serial may be kept. What is revoked later takes it away, and what is then put there is not found. */
  const placeOf = (key: string): Kept => {
    const known = kept.get(key)
    if (known !== undefined) return known
    const place: Kept = { status: null, answers: new Map() }
    kept.set(key, place)
    for (const oldest of kept.keys()) {
      if (kept.size <= mostKept) break
      kept.delete(oldest)
    }
    return place
  }

  /** Asks the database for what is not kept in `place`. */
  const statusIn = async (place: Kept, issuerId: string, serial: string): Promise<CertStatus> => {
    const now = clock.now().getTime()
    const { status } = place
    if (status !== null && Math.abs(now - status.at) < keptMs) return status.certStatus
    const certStatus = await storedStatus(issuerId, serial)
    // A certificate that is unknown may be issued at any moment, of which nobody tells.
    place.status = certStatus === unknown ? null : { certStatus, at: now }
    return certStatus
  }

  const statusOf = async (issuerId: string, serial: string): Promise<CertStatus> => {
    const key = keyOf(issuerId, serial)
    const place = placeOf(key)
    const certStatus = await statusIn(place, issuerId, serial)
    // Whoever asks for serials that do not exist must not push out those that do.
    if (certStatus === unknown && place.answers.size === 0 && kept.get(key) === place) kept.delete(key)
    return certStatus
  }

  const sign = async (
    issuerId: string,
    { authority }: Signatory,
    asked: readonly { certIdDer: Buffer; certStatus: CertStatus }[],
    nonce: Buffer | null,
  ): Promise<Buffer> => {
    const now = clock.now()
    const nextUpdate = new Date(now.getTime() + lifeMs)
    try {
      const der = await signOcspResponse(await responders.responderFor(issuerId, authority), {
        producedAt: now,
        responses: asked.map((one) => ({ ...one, thisUpdate: now, nextUpdate })),
        nonce,
      })
      count("request_success")
      return der
    } catch (error) {
      count("signing_failed")
      throw error
    }
  }

  const keptAnswer = async (
    issuerId: string,
    signatory: Signatory,
    serial: string,
    certIdDer: Buffer,
  ): Promise<Buffer> => {
    const key = keyOf(issuerId, serial)
    const inner = certIdDer.toString("latin1")
    const found = kept.get(key)?.answers.get(inner)
    const now = clock.now().getTime()
    if (found !== undefined && Math.abs(now - found.at) < keptMs) {
      count("request_success")
      return found.der
    }
    const place = placeOf(key)
    const certStatus = await statusIn(place, issuerId, serial)
    const der = await sign(issuerId, signatory, [{ certIdDer, certStatus }], null)
    place.answers.set(inner, { der, at: now })
    return der
  }

  const signatoriesFor = async (issuerId: string, isFresh = false): Promise<Signatories> => {
    try {
      return await signatoriesOf(issuerId, isFresh)
    } catch (error) {
      if (error instanceof AppError && error.code === "not_found") count("issuer_not_found")
      throw error
    }
  }

  /** The CA that signed the certificate with this serial; the one that signs now for those that are not known. */
  const signatoryOf = async (issuerId: string, serial: string): Promise<Signatory> => {
    const version = await revocations.version(issuerId, spellings(serial))
    const aki = version === null ? null : parseCertificate(splitChain(version.pemChain).leafPem).aki
    const findIn = ({ all }: Signatories) => all.find(({ authority }) => authority.keyId.toString("hex") === aki)
    const signatories = await signatoriesFor(issuerId)
    if (version === null) return signatories.active
    const found = findIn(signatories)
    if (found !== undefined) return found
    // Perhaps of a key that was made a moment ago.
    const fresh = await signatoriesFor(issuerId, true)
    return findIn(fresh) ?? fresh.active
  }

  return {
    /**
     * The answer for a bare serial, in hex of any form, to whoever has no OCSP request.
     * @throws AppError `not_found` unknown issuer; `not_supported` where the CA's key is not held here
     */
    async answerSerial(issuerId: string, serialHex: string): Promise<OcspAnswer> {
      await feed.settle()
      const serial = serialHex.toLowerCase().replace(/:/g, "")
      const { all, active } = await signatoriesFor(issuerId)
      const isKept = all.length === 1 && kept.has(keyOf(issuerId, serial))
      const signatory = isKept ? active : await signatoryOf(issuerId, serial)
      const certIdDer = signatory.certId(spellings(serial)[0] ?? serial)
      return { der: await keptAnswer(issuerId, signatory, serial, certIdDer), isCacheable: true }
    },

    /**
     * The answer to a DER request. A request with a nonce that cannot be repeated is answered with "unauthorized".
     * @throws AppError `validation` malformed; `not_found`; `not_supported`
     */
    async answerRequest(issuerId: string, der: Buffer): Promise<OcspAnswer> {
      await feed.settle()
      let { all, active } = await signatoriesFor(issuerId)
      let request: ReturnType<typeof parseOcspRequest>
      try {
        request = parseOcspRequest(der)
      } catch (error) {
        count("request_invalid")
        throw error
      }
      if (request.nonce === "malformed") {
        count("nonce_malformed")
        return { der: ocspErrorResponse("unauthorized"), isCacheable: false }
      }
      if (request.nonce !== null) count("nonce_echoed")
      const ownersOf = () => request.certIds.map((id) => all.find(({ isOurs }) => isOurs(id)) ?? null)
      let owners = ownersOf()
      if (owners.includes(null)) {
        // Perhaps a certificate of a key that another server made a moment ago.
        ;({ all, active } = await signatoriesFor(issuerId, true))
        owners = ownersOf()
      }
      const signatory = owners.find((owner) => owner !== null) ?? active
      const [only] = request.certIds
      if (request.nonce === null && request.certIds.length === 1 && only !== undefined && owners[0] !== null) {
        return { der: await keptAnswer(issuerId, signatory, only.serial, only.der), isCacheable: true }
      }
      const asked = await Promise.all(
        request.certIds.map(async (id, at) => ({
          certIdDer: id.der,
          // A certificate of somebody else's CA is not ours to judge, nor one whose CA key is not the signing one.
          certStatus: owners[at] === signatory ? await statusOf(issuerId, id.serial) : unknown,
        })),
      )
      return { der: await sign(issuerId, signatory, asked, request.nonce), isCacheable: false }
    },
  }
}

export type OcspService = ReturnType<typeof ocspService>
