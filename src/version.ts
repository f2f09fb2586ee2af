/** Which build this is. The version is the package's; the rest is baked in by build.ts and empty in a checkout. */
import { version as packageVersion } from "../package.json"

/** What build.ts writes in place of `CERTCTL_BUILD`. */
export interface BuildFacts {
  commit: string
  /** Whether the checkout had uncommitted changes. */
  modified: boolean
  /** ISO 8601, UTC. */
  buildTime: string
}

declare const CERTCTL_BUILD: BuildFacts | undefined

const build: BuildFacts =
  typeof CERTCTL_BUILD === "undefined" ? { commit: "", modified: false, buildTime: "" } : CERTCTL_BUILD

export const version = {
  version: packageVersion,
  ...build,
  /** Name and version of the runtime inside the executable, e.g. `bun 1.4.5`. */
  runtime: `bun ${Bun.version}`,
}
