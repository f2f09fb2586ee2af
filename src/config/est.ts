/** Enrolment over EST from the environment: one profile from the plain variables, further ones by name. */
import { type EnvironmentReader, refuse } from "./environment"

export type EstAuthMode = "basic" | "mtls"

export interface EstProfileSettings {
  /** Path label; empty for the root path. */
  readonly pathId: string
  readonly issuerId: string
  /** null: only the rules that hold without a profile. */
  readonly profileId: string | null
  /** HTTP Basic password; secret. */
  readonly password: string | null
  /** File of the CAs that client certificates chain to; null: no path for client certificates. */
  readonly trustBundlePath: string | null
  /** What opens the plain path. */
  readonly modes: readonly EstAuthMode[]
  /** The plain path asks nothing. */
  readonly anonymous: boolean
  /** Per client and address; 0: no limit. */
  readonly enrolmentsPerDay: number
}

const pathForm = /^[a-z0-9](?:[a-z0-9-]*[a-z0-9])?$/

/** `EST_PROFILE_DEVICES` has the path label `devices`, `EST_PROFILE_LAB_1` has `lab-1`. */
export const pathIdOf = (list: string, name: string): string => {
  const pathId = name.toLowerCase().replace(/_/g, "-")
  return pathForm.test(pathId)
    ? pathId
    : refuse(`${list}: profile names have letters, digits and inner hyphens or underscores`)
}

/** The variable of a named profile, made from that of the root path. */
const inProfile =
  (name: string) =>
  (variable: string): string =>
    variable.replace("CERTCTL_EST_", `CERTCTL_EST_PROFILE_${name.toUpperCase().replace(/-/g, "_")}_`)

const readProfile = (
  read: EnvironmentReader,
  called: (variable: string) => string,
  pathId: string,
  defaultIssuer: string | null,
  anonymousAllowed: boolean,
): EstProfileSettings => {
  const issuerName = called("CERTCTL_EST_ISSUER_ID")
  const passwordName = called("CERTCTL_EST_ENROLLMENT_PASSWORD")
  const mtlsName = called("CERTCTL_EST_MTLS_ENABLED")
  const bundleName = called("CERTCTL_EST_MTLS_CLIENT_CA_TRUST_BUNDLE_PATH")
  const bindingName = called("CERTCTL_EST_CHANNEL_BINDING_REQUIRED")
  const keygenName = called("CERTCTL_EST_SERVERKEYGEN_ENABLED")
  const modesName = called("CERTCTL_EST_ALLOWED_AUTH_MODES")
  const profileName = called("CERTCTL_EST_PROFILE_ID")
  const limitName = called("CERTCTL_EST_RATE_LIMIT_PER_PRINCIPAL_24H")
  const issuerId = read.text(issuerName) ?? defaultIssuer ?? refuse(`${issuerName} must be set`)
  const password = read.text(passwordName)
  const mtls = read.bool(mtlsName, false)
  const bundle = read.text(bundleName)
  if (mtls && bundle === null) refuse(`${bundleName} must be set with ${mtlsName}`)
  if (read.bool(bindingName, false)) {
    refuse(`${bindingName} cannot be offered: the proxy that ends TLS does not pass the channel's value on`)
  }
  if (read.bool(keygenName, false)) refuse(`${keygenName} cannot be offered: keys are made where they are used`)
  const listed = read.list(modesName)
  for (const mode of listed) {
    if (mode !== "basic" && mode !== "mtls") refuse(`${modesName} must be a list of basic and mtls`)
  }
  if (listed.includes("mtls") && !mtls) refuse(`${modesName} lists mtls, but ${mtlsName} is off`)
  if (listed.includes("basic") && password === null) {
    refuse(`${modesName} lists basic, but ${passwordName} is not set`)
  }
  if (password === null && !mtls && !anonymousAllowed) {
    refuse(
      `EST would be open to everybody: set ${passwordName} or ${mtlsName}, or allow it with CERTCTL_EST_ALLOW_ANONYMOUS=true`,
    )
  }
  const usable: EstAuthMode[] = [...(password === null ? [] : ["basic" as const]), ...(mtls ? ["mtls" as const] : [])]
  const modes = listed.length === 0 ? usable : usable.filter((mode) => listed.includes(mode))
  return {
    pathId,
    issuerId,
    profileId: read.text(profileName),
    password,
    trustBundlePath: modes.includes("mtls") ? bundle : null,
    modes,
    anonymous: password === null && !mtls,
    enrolmentsPerDay: read.int(limitName, 0, { min: 0 }),
  }
}

/** Empty: EST is off. */
export const readEst = (read: EnvironmentReader, warn: (line: string) => void): readonly EstProfileSettings[] => {
  if (!read.bool("CERTCTL_EST_ENABLED", false)) return []
  const anonymous = read.bool("CERTCTL_EST_ALLOW_ANONYMOUS", false)
  const list = "CERTCTL_EST_PROFILES"
  const named = read.list(list).map((name) => ({ name, pathId: pathIdOf(list, name) }))
  const profiles = [
    readProfile(read, (variable) => variable, "", "iss-local", anonymous),
    ...named.map(({ name, pathId }) => readProfile(read, inProfile(name), pathId, null, anonymous)),
  ]
  const twice = profiles.find(({ pathId }, at) => profiles.findIndex((other) => other.pathId === pathId) !== at)
  if (twice !== undefined) refuse(`${list}: two profiles have the path ${twice.pathId}`)
  for (const { pathId } of profiles.filter((profile) => profile.anonymous)) {
    warn(`EST enrolment at /.well-known/est/${pathId} is open to whoever reaches it (CERTCTL_EST_ALLOW_ANONYMOUS)`)
  }
  return profiles
}
