/**
 * Makes the SQLite addon loadable: what is embedded in the executable cannot be opened as a library, so its bytes are put
 * into the data directory, which unlike /tmp is never mounted noexec for a service that lives there.
 */
import { createHash } from "node:crypto"
import { chmodSync, existsSync, mkdirSync, readdirSync, readFileSync, rmSync } from "node:fs"
import { join } from "node:path"
import { writePrivateFile } from "../data-directory"
import { nativeAddonPath } from "../embed"

/** The path of the addon for this build; writes it once per version and removes those of other versions. */
export const nativeBindingIn = (dataDir: string): string => {
  const bytes = readFileSync(nativeAddonPath())
  const folder = join(dataDir, "native")
  const name = `better_sqlite3-${createHash("sha256").update(bytes).digest("hex").slice(0, 16)}.node`
  const path = join(folder, name)
  if (existsSync(path) && readFileSync(path).equals(bytes)) return path
  mkdirSync(folder, { recursive: true, mode: 0o700 })
  writePrivateFile(path, bytes)
  chmodSync(path, 0o700)
  for (const other of readdirSync(folder)) if (other !== name) rmSync(join(folder, other), { force: true })
  return path
}
