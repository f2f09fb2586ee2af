/** Enrolment over SCEP from the environment: one profile from the plain variables, further ones by name. */
import { type EnvironmentReader, refuse } from "./environment"
import { pathIdOf } from "./est"

export interface ScepProfileSettings {
  /** Path label; empty for the root path. */
  readonly pathId: string
  readonly issuerId: string
  /** null: only the rules that hold without a profile. */
  readonly profileId: string | null
  /** Secret. */
  readonly challengePassword: string
  /** PEM files of the RSA pair that clients encrypt to; null: one is made and kept. */
  readonly raFiles: { readonly certPath: string; readonly keyPath: string } | null
  /** File of the CAs that client certificates chain to; null: no path for client certificates. */
  readonly trustBundlePath: string | null
}

export interface ScepSettings {
  /** Empty: SCEP is off. */
  readonly profiles: readonly ScepProfileSettings[]
  readonly allow3des: boolean
  /** SHA-1 and single DES. */
  readonly allowLegacy: boolean
  /** Per client name and address; 0: no limit. */
  readonly enrolmentsPerDay: number
}

const list = "CERTCTL_SCEP_PROFILES"

/** The variable of a named profile, made from that of the root path. */
const inProfile =
  (name: string) =>
  (variable: string): string =>
    variable.replace("CERTCTL_SCEP_", `CERTCTL_SCEP_PROFILE_${name.toUpperCase().replace(/-/g, "_")}_`)

const readProfile = (
  read: EnvironmentReader,
  called: (variable: string) => string,
  pathId: string,
  defaultIssuer: string | null,
): ScepProfileSettings => {
  const issuerName = called("CERTCTL_SCEP_ISSUER_ID")
  const passwordName = called("CERTCTL_SCEP_CHALLENGE_PASSWORD")
  const certName = called("CERTCTL_SCEP_RA_CERT_PATH")
  const keyName = called("CERTCTL_SCEP_RA_KEY_PATH")
  const mtlsName = called("CERTCTL_SCEP_MTLS_ENABLED")
  const bundleName = called("CERTCTL_SCEP_MTLS_CLIENT_CA_TRUST_BUNDLE_PATH")
  const certPath = read.text(certName)
  const keyPath = read.text(keyName)
  const bundle = read.text(bundleName)
  const mtls = read.bool(mtlsName, false)
  if ((certPath === null) !== (keyPath === null)) refuse(`${certName} and ${keyName} must be set together`)
  if (mtls && bundle === null) refuse(`${bundleName} must be set with ${mtlsName}`)
  return {
    pathId,
    issuerId: read.text(issuerName) ?? defaultIssuer ?? refuse(`${issuerName} must be set`),
    profileId: read.text(called("CERTCTL_SCEP_PROFILE_ID")),
    challengePassword:
      read.text(passwordName) ?? refuse(`${passwordName} must be set: SCEP would be open to whoever reaches it`),
    raFiles: certPath === null || keyPath === null ? null : { certPath, keyPath },
    trustBundlePath: mtls ? bundle : null,
  }
}

const readProfiles = (read: EnvironmentReader): ScepProfileSettings[] => {
  const named = read.list(list).map((name) => ({ name, pathId: pathIdOf(list, name) }))
  // The plain variables are a profile when they say how to enrol, or when nothing else does.
  const hasRoot =
    named.length === 0 ||
    ["CERTCTL_SCEP_CHALLENGE_PASSWORD", "CERTCTL_SCEP_RA_CERT_PATH", "CERTCTL_SCEP_RA_KEY_PATH"].some(
      (name) => read.text(name) !== null,
    )
  const profiles = named.map(({ name, pathId }) => readProfile(read, inProfile(name), pathId, null))
  const twice = profiles.find(({ pathId }, at) => profiles.findIndex((other) => other.pathId === pathId) !== at)
  if (twice !== undefined) refuse(`${list}: two profiles have the path ${twice.pathId}`)
  return hasRoot ? [readProfile(read, (variable) => variable, "", "iss-local"), ...profiles] : profiles
}

export const readScep = (read: EnvironmentReader): ScepSettings => ({
  profiles: read.bool("CERTCTL_SCEP_ENABLED", false) ? readProfiles(read) : [],
  allow3des: read.bool("CERTCTL_SCEP_ALLOW_3DES", false),
  allowLegacy: read.bool("CERTCTL_SCEP_ALLOW_LEGACY", false),
  enrolmentsPerDay: read.int("CERTCTL_SCEP_RATE_LIMIT_PER_PRINCIPAL_24H", 0, { min: 0 }),
})
