/**
 * Where a client came in: each certificate profile has a directory of its own, below /acme/profile/{id}; that of the default
 * profile also stands below /acme. Every URL given to a client goes through the same door again.
 */
import type { ProfileRow } from "../profiles/profile.store"
import { acmeProblem } from "./acme.problem"

type AcmeAuthMode = NonNullable<ProfileRow["acmeAuthMode"]>

export interface Door {
  /** URL without a trailing slash. */
  readonly base: string
  readonly profile: Pick<ProfileRow, "id" | "enabled" | "requiresApproval" | "requiredSanPatterns">
  readonly mode: AcmeAuthMode
  readonly issuerId: string
}

interface Deps {
  findProfile: (id: string) => Promise<ProfileRow | null>
  /** Without a trailing slash. */
  publicUrl: string
  settings: { readonly defaultProfileId: string | null; readonly defaultAuthMode: AcmeAuthMode }
}

/** Of profiles that name no issuer. */
const defaultIssuerId = "iss-local"

export const doors = ({ findProfile, publicUrl, settings }: Deps) => {
  const { defaultProfileId, defaultAuthMode } = settings
  const profileBase = (id: string) => `${publicUrl}/acme/profile/${encodeURIComponent(id)}`
  const shortBase = `${publicUrl}/acme`
  return {
    /** `profileId` null: the short path. */
    async open(profileId: string | null): Promise<Door> {
      const id = profileId ?? defaultProfileId
      if (id === null) {
        throw acmeProblem("userActionRequired", "there is no default profile here: use /acme/profile/{id}/directory")
      }
      const profile = await findProfile(id)
      if (profile === null) throw acmeProblem("malformed", `there is no profile ${id}`, { code: "not_found" })
      return {
        base: profileId === null ? shortBase : profileBase(id),
        profile,
        mode: profile.acmeAuthMode ?? defaultAuthMode,
        issuerId: profile.acmeIssuerId ?? defaultIssuerId,
      }
    },

    /** The id in an account's URL, whichever way its client came in; null when it is no URL of this profile's accounts. */
    accountIdIn(url: string, { profile }: Door): string | null {
      const bases = [profileBase(profile.id), ...(profile.id === defaultProfileId ? [shortBase] : [])]
      for (const base of bases) {
        const prefix = `${base}/account/`
        if (url.startsWith(prefix)) return url.slice(prefix.length)
      }
      return null
    },
  }
}

export type Doors = ReturnType<typeof doors>

/** Refuses what the profile does not allow now: a disabled one issues nothing, and nobody waits here for an approval. */
export const demandIssuing = ({ profile }: Door): void => {
  if (!profile.enabled) throw acmeProblem("unauthorized", `profile ${profile.id} is disabled`)
  if (profile.requiresApproval) {
    throw acmeProblem("unauthorized", `profile ${profile.id} requires an approval, which ACME clients cannot wait for`)
  }
}
