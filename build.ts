/**
 * Makes the executable: `bun build.ts` writes dist/certctl for this machine, `--target linux-arm64` (see `targets`)
 * dist/certctl-linux-arm64 for another one, `--target all` every one; each with its .sha256 file beside it.
 * `--if-stale` does nothing when no source changed since the last build, `--stage` only prepares embed/ for a checkout.
 */
import {
  chmodSync,
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  writeFileSync,
} from "node:fs"
import { basename, extname, join, relative } from "node:path"
import { parseArgs } from "node:util"
import type { BuildFacts } from "./src/version"

interface Target {
  runtime: Bun.Build.CompileTarget
  /** File name under better-sqlite3/prebuilds. */
  addon: string
}

const targets: Readonly<Record<string, Target>> = {
  "linux-x64": { runtime: "bun-linux-x64", addon: "linux-x64" },
  "linux-arm64": { runtime: "bun-linux-arm64", addon: "linux-arm64" },
  "linux-x64-musl": { runtime: "bun-linux-x64-musl", addon: "linuxmusl-x64" },
  "linux-arm64-musl": { runtime: "bun-linux-arm64-musl", addon: "linuxmusl-arm64" },
  "darwin-x64": { runtime: "bun-darwin-x64", addon: "darwin-x64" },
  "darwin-arm64": { runtime: "bun-darwin-arm64", addon: "darwin-arm64" },
  "windows-x64": { runtime: "bun-windows-x64", addon: "win32-x64" },
}

const root = import.meta.dir
const dist = join(root, "dist")

/** Files below a folder, as paths relative to the repository, in a stable order. */
const filesBelow = (folder: string): string[] =>
  existsSync(join(root, folder))
    ? readdirSync(join(root, folder), { recursive: true, withFileTypes: true })
        .filter((entry) => entry.isFile())
        .map((entry) => relative(root, join(entry.parentPath, entry.name)))
        .sort()
    : []

const isTest = (file: string) => /\.test\.ts$/.test(file) || /^src\/(testing|e2e)\//.test(file)

const sha256 = (bytes: string | Uint8Array) => new Bun.CryptoHasher("sha256").update(bytes).digest("hex")

/** A digest over everything that ends up in the executable. Contents, not times: a checkout or a touch changes nothing. */
const digestOfSources = (): string => {
  const hasher = new Bun.CryptoHasher("sha256")
  const folders = ["src", "agent", "ui", "drizzle"].flatMap(filesBelow)
  for (const file of [...folders, "build.ts", "package.json", "package-lock.json", "tsconfig.json"]) {
    if (isTest(file)) continue
    hasher.update(`${file}\0${sha256(readFileSync(join(root, file)))}\n`)
  }
  return hasher.digest("hex")
}

const git = (...argv: string[]): string => {
  const run = Bun.spawnSync(["git", ...argv], { cwd: root, stderr: "ignore" })
  return run.success ? run.stdout.toString().trim() : ""
}

/** SOURCE_DATE_EPOCH (seconds) makes two builds of one commit identical. */
const buildFacts = (): BuildFacts => {
  const epoch = process.env.SOURCE_DATE_EPOCH
  return {
    commit: git("rev-parse", "HEAD"),
    modified: git("status", "--porcelain") !== "",
    buildTime: new Date(epoch ? Number(epoch) * 1000 : Date.now()).toISOString(),
  }
}

const bundle = async (config: Bun.BuildConfig): Promise<Bun.BuildArtifact[]> => {
  const output = await Bun.build({ ...config, throw: false })
  if (!output.success) throw new Error(output.logs.map(String).join("\n"))
  return output.outputs
}

const hashedName = (name: string, bytes: Uint8Array | string) =>
  `${basename(name, extname(name))}-${sha256(bytes).slice(0, 10)}${extname(name)}`

/**
 * Bundles the browser's script, minifies the stylesheets and copies every other file of ui/assets, all under names that carry a
 * digest of their contents, so that browsers may keep them for ever. manifest.json maps plain names to these.
 */
const stageAssets = async (folder: string): Promise<void> => {
  mkdirSync(folder, { recursive: true })
  const manifest: Record<string, string> = {}
  const put = (name: string, bytes: Uint8Array | string) => {
    if (manifest[name] !== undefined) throw new Error(`two assets are called ${name}`)
    manifest[name] = hashedName(name, bytes)
    writeFileSync(join(folder, manifest[name]), bytes)
  }

  const assets = filesBelow("ui/assets")
  const styles = assets.filter((file) => file.endsWith(".css"))
  for (const file of assets) if (!styles.includes(file)) put(basename(file), readFileSync(join(root, file)))
  for (const file of styles) {
    // `external` leaves url(…) alone: the bundler would inline small fonts as data: URLs, which the console's CSP refuses.
    const external = ["*.woff2", "*.svg", "*.png"]
    const [built] = await bundle({ entrypoints: [join(root, file)], minify: true, external })
    const css = (await built?.text()) ?? ""
    put(
      basename(file),
      css.replace(/url\(\s*["']?([^"')]+)["']?\s*\)/g, (whole, path: string) => {
        const hashed = manifest[basename(path)]
        return hashed === undefined ? whole : `url(/assets/${hashed})`
      }),
    )
  }

  // The loader is the console's one script; islands are chunks that it imports as a page needs them.
  const scripts = await bundle({
    entrypoints: [join(root, "ui/islands/loader.ts")],
    outdir: folder,
    target: "browser",
    format: "esm",
    splitting: true,
    minify: true,
    publicPath: "/assets/",
    naming: "[name]-[hash].[ext]",
  })
  for (const { kind, path } of scripts) {
    const name = basename(path)
    manifest[kind === "entry-point" ? name.replace(/-[^-]+\.js$/, ".js") : name] = name
  }
  writeFileSync(join(folder, "manifest.json"), `${JSON.stringify(manifest, null, 2)}\n`)
}

const stageMigrations = (folder: string): void => {
  for (const file of filesBelow("drizzle").filter((name) => name.endsWith(".sql"))) {
    cpSync(join(root, file), join(folder, relative("drizzle", file)))
  }
}

/** The assets of a checkout, where `bun src/main.ts` and the tests look for them. Replaced as a whole. */
const stageCheckout = async (): Promise<void> => {
  mkdirSync(join(root, "embed"), { recursive: true })
  const fresh = mkdtempSync(join(root, "embed", ".assets-"))
  try {
    await stageAssets(fresh)
    rmSync(join(root, "embed", "assets"), { recursive: true, force: true })
    renameSync(fresh, join(root, "embed", "assets"))
  } finally {
    rmSync(fresh, { recursive: true, force: true })
  }
}

const compile = async (target: Target, outfile: string): Promise<void> => {
  mkdirSync(dist, { recursive: true })
  // A folder of its own: two builds may run at once, and a running executable must be replaced, not written into.
  const stage = mkdtempSync(join(dist, ".stage-"))
  try {
    await stageAssets(join(stage, "embed", "assets"))
    stageMigrations(join(stage, "embed", "drizzle"))
    const addon = join(root, "node_modules/better-sqlite3/prebuilds", `${target.addon}.node`)
    cpSync(addon, join(stage, "embed", "native", "better_sqlite3.node"))

    // Embedded files keep their path relative to the working directory.
    process.chdir(stage)
    await bundle({
      // A thread starts from a file of its own; beside the chunks, it is where they look for it.
      entrypoints: [
        join(root, "src/main.ts"),
        join(root, "src/db/sqlite-scan.worker.ts"),
        join(root, "src/db/sqlite-checkpoint.worker.ts"),
      ],
      naming: { entry: "[name].[ext]" },
      target: "bun",
      format: "esm",
      // Chunks with bytecode: what a subcommand does not import is neither read nor parsed.
      splitting: true,
      bytecode: true,
      minify: true,
      // Stack traces in the log name source lines; costs under 100 kB and nothing at start.
      sourcemap: "inline",
      // ssh2 tries two optional addons and does without them.
      external: ["cpu-features", "*/sshcrypto.node"],
      define: { CERTCTL_BUILD: JSON.stringify(buildFacts()) },
      compile: {
        target: target.runtime,
        outfile: basename(outfile),
        assets: ["./embed"],
        // Otherwise the program runs whatever bunfig.toml and .env lie in the directory it is started in.
        autoloadDotenv: false,
        autoloadBunfig: false,
      },
    })
    publish(join(stage, basename(outfile)), outfile)
  } finally {
    process.chdir(root)
    rmSync(stage, { recursive: true, force: true })
  }
}

const publish = (built: string, outfile: string): void => {
  chmodSync(built, 0o755)
  const digest = sha256(readFileSync(built))
  renameSync(built, outfile)
  writeFileSync(`${outfile}.sha256`, `${digest}  ${basename(outfile)}\n`)
}

const hostTarget = (): string => {
  const musl = process.platform === "linux" && /\/ld-musl-/.test(readFileSync("/proc/self/maps", "latin1"))
  const name = `${process.platform === "win32" ? "windows" : process.platform}-${process.arch}${musl ? "-musl" : ""}`
  if (targets[name] === undefined) throw new Error(`certctl is not built for ${name}`)
  return name
}

const outfileOf = (name: string, isHostBuild: boolean) =>
  join(dist, `certctl${isHostBuild ? "" : `-${name}`}${name.startsWith("windows") ? ".exe" : ""}`)

const build = async (name: string, isHostBuild: boolean): Promise<void> => {
  const target = targets[name]
  if (target === undefined) throw new Error(`unknown target ${name}; known: ${Object.keys(targets).join(", ")}, all`)
  const started = performance.now()
  const outfile = outfileOf(name, isHostBuild)
  await compile(target, outfile)
  const megabytes = (statSync(outfile).size / 1e6).toFixed(0)
  console.log(`${relative(root, outfile)}  ${megabytes} MB  ${((performance.now() - started) / 1000).toFixed(1)} s`)
}

const main = async (): Promise<void> => {
  const { values } = parseArgs({
    options: { target: { type: "string" }, "if-stale": { type: "boolean" }, stage: { type: "boolean" } },
  })
  if (values.stage) return stageCheckout()
  if (values.target === "all") {
    for (const name of Object.keys(targets)) await build(name, false)
    return
  }
  if (values.target !== undefined) return build(values.target, false)

  const recorded = join(dist, "certctl.sources")
  const digest = digestOfSources()
  const host = hostTarget()
  const isFresh =
    existsSync(outfileOf(host, true)) && existsSync(recorded) && readFileSync(recorded, "utf8").trim() === digest
  if (values["if-stale"] && isFresh) return
  await build(host, true)
  writeFileSync(recorded, `${digest}\n`)
}

try {
  await main()
} catch (error) {
  console.error(`build: ${error instanceof Error ? error.message : error}`)
  process.exit(1)
}
