/**
 * The CA inside certctl: its own root, kept sealed in the database, or a subordinate CA loaded from two files, which is
 * how it becomes part of an enterprise hierarchy. The database is the authority on revocation, so nothing is told here.
 */
import * as v from "valibot"
import { AppError } from "../../errors"
import type { Authority } from "../../pki/authority"
import { type Csr, parseCsr } from "../../pki/csr"
import { issuedSubject, longestCommonName } from "../../pki/issued-subject"
import { distinctSans, type San, sanOf } from "../../pki/names"
import { field } from "../config"
import { defineIssuer, type IssueRequest } from "./contract"

const dayMs = 86_400_000
const knownEkus = new Set(["serverAuth", "clientAuth", "codeSigning", "emailProtection", "timeStamping"])
const config = v.pipe(
  v.object({
    ca_common_name: field(
      v.optional(v.pipe(v.string(), v.maxLength(64, "must have at most 64 characters"))),
      "CA common name",
      "Name of the self-signed CA; counts when the CA is made",
    ),
    validity_days: field(
      v.optional(
        v.pipe(
          v.number(),
          v.integer("must be a whole number"),
          v.minValue(0, "must be at least 1 (0 means 90)"),
          v.maxValue(36_500, "must be at most 36500"),
          v.transform((days) => days || 90),
        ),
        90,
      ),
      "Validity in days",
      "Lifetime of what is issued, unless the profile wants less",
    ),
    ca_cert_path: field(
      v.optional(v.string(), ""),
      "CA certificate file",
      "PEM: the issuing CA first, those above it after; makes this a subordinate CA",
    ),
    // Masked in answers like every key-named value, but a path is not sealed away from the person who edits it.
    ca_key_path: field(
      v.optional(v.string(), ""),
      "CA key file",
      "PEM: PKCS#8 (also encrypted), PKCS#1 or SEC1; set together with the certificate file",
    ),
    crl_distribution_point_urls: field(
      v.optional(v.array(v.pipe(v.string(), v.url("must be URLs")))),
      "CRL distribution points",
      "Written into what is issued instead of the server's own CRL address",
    ),
  }),
  v.forward(
    v.partialCheck(
      [["ca_cert_path"], ["ca_key_path"]],
      ({ ca_cert_path, ca_key_path }) => ca_cert_path === "" || ca_key_path !== "",
      "must be set together with ca_cert_path",
    ),
    ["ca_key_path"],
  ),
  v.forward(
    v.partialCheck(
      [["ca_cert_path"], ["ca_key_path"]],
      ({ ca_cert_path, ca_key_path }) => ca_key_path === "" || ca_cert_path !== "",
      "must be set together with ca_key_path",
    ),
    ["ca_cert_path"],
  ),
)

/** Names of the CSR, then those asked for besides, each once. Types are judged by form: a CSR may label an address as a DNS name. */
const sansOf = (csr: Csr, request: IssueRequest): San[] => {
  const asked = request.sans.flatMap((name) =>
    name === "localhost" ? [sanOf(name), sanOf("127.0.0.1")] : [sanOf(name)],
  )
  const all = [...csr.sans, ...asked]
  // Clients look at SANs only (RFC 9525 section 2), so a request with nothing but a common name gets it as its SAN, and one
  // that the subject cannot hold is there in its place.
  const isNeeded = all.length === 0 || csr.commonName.length > longestCommonName
  if (isNeeded && csr.commonName !== "") all.push(sanOf(csr.commonName))
  return distinctSans(all)
}

const demandValidity = ({ commonName, notBefore, notAfter }: Authority, now: Date) => {
  const problem =
    now < notBefore
      ? `is not valid before ${notBefore.toISOString()}`
      : now >= notAfter
        ? `expired on ${notAfter.toISOString()}`
        : null
  if (problem !== null) throw new AppError("upstream", `the CA certificate "${commonName}" ${problem}`)
}

export const localCa = defineIssuer({
  type: "GenericCA",
  aliases: ["local", "local_ca"],
  label: "Local CA",
  inProcess: true,
  config,
  example: { ca_common_name: "CertCtl Local CA", validity_days: 90 },
  connect({ ca_common_name, validity_days, ca_cert_path, ca_key_path, crl_distribution_point_urls }, deps) {
    // Opened once: the files are read again when the issuer is saved or the server starts.
    let fromFiles: Promise<Authority> | null = null
    const openFiles = (): Promise<Authority> => {
      fromFiles ??= deps.authorityFromFiles({ certPath: ca_cert_path, keyPath: ca_key_path }).catch((error) => {
        fromFiles = null
        throw error
      })
      return fromFiles
    }
    const isSubordinate = ca_cert_path !== ""
    const made = { commonName: ca_common_name || undefined }
    const opened = async (): Promise<Authority> => {
      const authority = await (isSubordinate ? openFiles() : deps.heldAuthority(made))
      demandValidity(authority, deps.clock.now())
      return authority
    }
    return {
      ...(isSubordinate ? {} : { heldRoot: { crlUrls: crl_distribution_point_urls ?? null } }),
      async issue(request) {
        const csr = parseCsr(request.csrPem)
        const authority = await opened()
        const now = deps.clock.now().getTime()
        const profileMs = request.maxTtlSeconds > 0 ? request.maxTtlSeconds * 1000 : Number.POSITIVE_INFINITY
        const { crl, ocsp, caCertificate } = deps.publicUrls(authority)
        const signed = await authority.sign({
          spkiDer: csr.spkiDer,
          subjectDer: issuedSubject(csr.subjectDer),
          sans: sansOf(csr, request),
          ekus: request.ekus.filter((eku) => knownEkus.has(eku)),
          notBefore: new Date(Math.max(now - deps.backdateMs, authority.notBefore.getTime())),
          notAfter: new Date(now + Math.min(validity_days * dayMs, profileMs)),
          crlUrls: crl_distribution_point_urls ?? crl,
          ocspUrls: authority.ocspUrls ?? ocsp,
          caIssuerUrls: caCertificate,
          mustStaple: request.mustStaple,
        })
        return {
          certPem: signed.certPem,
          chainPem: authority.chainPem,
          orderId: `local-${signed.serial}`,
          facts: { ...signed, spkiDer: csr.spkiDer },
        }
      },
      async revoke() {},
      async testConnection() {
        await opened()
      },
      async caChain() {
        const { anchorsPem, chainPem } = await opened()
        return anchorsPem ?? chainPem
      },
      async authorities() {
        return isSubordinate ? [await openFiles()] : deps.heldAuthorities(made)
      },
    }
  },
})
