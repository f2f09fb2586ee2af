/**
 * Programs that some tests talk to and that are not npm packages. A machine without them skips those tests and says so;
 * where CERTCTL_REQUIRE_PEERS=1 (continuous integration) a missing one is an error.
 */
import { accessSync, constants } from "node:fs"

const searchPath = `${process.env.PATH ?? ""}:/usr/sbin:/sbin:/usr/local/sbin`

const found = (program: string): string | null => {
  const path = Bun.which(program, { PATH: searchPath })
  if (path !== null) accessSync(path, constants.X_OK)
  return path
}

/**
 * The absolute path of a program, or null after printing which Debian package would bring it. Use as
 * `const nginx = peer("nginx", "nginx-light")` and `describe.skipIf(nginx === null)(…)`.
 */
export const peer = (program: string, debianPackage: string): string | null => {
  const path = found(program)
  if (path !== null) return path
  const words = `${program} is missing: apt-get install ${debianPackage}`
  if (process.env.CERTCTL_REQUIRE_PEERS === "1") throw new Error(words)
  console.warn(`skipped: ${words}`)
  return null
}

/** As `peer`, for what is in no Debian package: a machine may always be without it. `command` brings it. */
export const optionalPeer = (program: string, command: string): string | null => {
  const path = found(program)
  if (path === null) console.warn(`skipped: ${program} is missing: run ${command}`)
  return path
}
