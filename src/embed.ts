/**
 * Where the files that travel inside the executable are. build.ts stages them under `embed/`; in the compiled program
 * that folder lies beside every chunk, in a checkout the same names stand for the source folders. Nothing else may know.
 *
 * The compiled folder is virtual: `readdirSync`, `readFileSync` and `Bun.file` work in it, `copyFileSync` and `dlopen` do not.
 */
import { readFileSync } from "node:fs"
import { join } from "node:path"

declare const CERTCTL_BUILD: unknown

const compiled = typeof CERTCTL_BUILD !== "undefined"
const root = compiled ? join(import.meta.dir, "embed") : join(import.meta.dir, "..")

/** Top-level names of `embed/` that stand for a different folder in a checkout. */
const checkoutFolders: Readonly<Record<string, string>> = { assets: "embed/assets" }

/**
 * The absolute path of an embedded file or folder: `embeddedFolder("drizzle", "sqlite")` holds the SQLite migrations,
 * `embeddedFolder("assets")` the console's css, js and fonts under their hashed names.
 */
export const embeddedFolder = (first: string, ...rest: string[]): string =>
  join(root, compiled ? first : (checkoutFolders[first] ?? first), ...rest)

/** The better-sqlite3 addon of this platform. Read its bytes and write them to a real folder before loading it. */
export const nativeAddonPath = (): string =>
  compiled
    ? embeddedFolder("native", "better_sqlite3.node")
    : join(root, "node_modules", "better-sqlite3", "prebuilds", `${addonPlatform()}-${process.arch}.node`)

const addonPlatform = (): string => {
  if (process.platform !== "linux") return process.platform
  // The runtime of a musl system is another build than the one for glibc, so the loaded libc decides.
  return /\/ld-musl-[^/\s]*\.so/.test(readFileSync("/proc/self/maps", "latin1")) ? "linuxmusl" : "linux"
}

/** Plain name of an asset (`console.css`, `loader.js`) to its hashed file name. Empty in a checkout that was never built. */
export type AssetManifest = Readonly<Record<string, string>>

let manifest: AssetManifest | undefined

export const assetManifest = (): AssetManifest => {
  manifest ??= readManifest()
  return manifest
}

const readManifest = (): AssetManifest => {
  try {
    return JSON.parse(readFileSync(embeddedFolder("assets", "manifest.json"), "utf8"))
  } catch (cause) {
    if (compiled) throw new Error("the executable lacks its asset manifest", { cause })
    return {}
  }
}

/**
 * The URL of a console asset, e.g. `/assets/console-1f2e3d4c.css` for `console.css`. A name that does not exist throws in
 * the executable; in a checkout, where an asset may be newer than the last build, it keeps its plain name.
 */
export const assetUrl = (name: string): string => {
  const hashed = assetManifest()[name]
  if (hashed === undefined && compiled) throw new Error(`no embedded asset is called ${name}`)
  return `/assets/${hashed ?? name}`
}
