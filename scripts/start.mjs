/**
 * `npm start`: sets the checkout up, builds what changed and runs the server with the demo inventory; `npm run dev` runs it from
 * source and restarts it on every change. Arguments after `--` go to `certctl server`. The data lives in .cache/demo, away
 * from an installed certctl's, unless CERTCTL_DATA_DIR says so.
 */
import { spawn, spawnSync } from "node:child_process"
import { dirname, join } from "node:path"
import { fileURLToPath } from "node:url"
import { setUp } from "./setup.mjs"

const root = dirname(dirname(fileURLToPath(import.meta.url)))

setUp()
const bun = join(root, "node_modules", "bun", "bin", "bun.exe")
const [first, ...rest] = process.argv.slice(2)
const isFromSource = first === "--from-source"
const build = spawnSync(bun, ["build.ts", isFromSource ? "--stage" : "--if-stale"], {
  cwd: root,
  stdio: ["ignore", "inherit", "inherit"],
})
if (build.status !== 0) process.exit(build.status ?? 1)

const executable = join(root, "dist", process.platform === "win32" ? "certctl.exe" : "certctl")
const [command, argv] = isFromSource
  ? [bun, ["--watch", join(root, "src", "main.ts"), "server", "--demo", ...rest]]
  : [executable, ["server", "--demo", ...process.argv.slice(2)]]
const server = spawn(command, argv, {
  stdio: "inherit",
  env: { CERTCTL_DATA_DIR: join(root, ".cache", "demo"), ...process.env },
})
// A terminal's Ctrl-C reaches the server by itself; these are for a supervisor that knows only our process id.
for (const signal of ["SIGTERM", "SIGHUP"]) process.on(signal, () => server.kill(signal))
process.on("SIGINT", () => process.stdin.isTTY || server.kill("SIGINT"))
server.on("error", (error) => {
  console.error(`start: ${error.message}`)
  process.exit(1)
})
server.on("exit", (code, signal) => process.exit(code ?? (signal ? 128 : 1)))
