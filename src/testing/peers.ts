/**
 * Programs that some tests talk to and that are not npm packages. A machine without them skips those tests and says so;
 * where CERTCTL_REQUIRE_PEERS=1 (continuous integration) a missing one is an error.
 */
import { accessSync, constants } from "node:fs"

const searchPath = `${process.env.PATH ?? ""}:/usr/sbin:/sbin:/usr/local/sbin`

/**
 * The absolute path of a program, or null after printing which Debian package would bring it. Use as
 * `const nginx = peer("nginx", "nginx-light")` and `describe.skipIf(nginx === null)(…)`.
 */
export const peer = (program: string, debianPackage: string): string | null => {
  const path = Bun.which(program, { PATH: searchPath })
  if (path !== null) {
    accessSync(path, constants.X_OK)
    return path
  }
  const words = `${program} is missing: apt-get install ${debianPackage}`
  if (process.env.CERTCTL_REQUIRE_PEERS === "1") throw new Error(words)
  console.warn(`skipped: ${words}`)
  return null
}
