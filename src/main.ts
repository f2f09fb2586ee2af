// Must come first: @peculiar/x509 needs the reflection API before its own first line.
import "reflect-metadata"

/** argv to one subcommand, and its outcome to an exit code; nothing else. */
const args = process.argv.slice(2)

const main = async (): Promise<number> => {
  // Asked for by scripts and health checks all the time: not worth loading the parser for.
  const isVersion = args[0] === "--version" || (args[0] === "version" && !process.env.CERTCTL_SERVER_URL)
  if (args.length === 1 && isVersion) return (await import("./commands/version")).printVersion()
  return (await import("./commands/run")).run(args, process.env)
}

/** What was written to a pipe is still on its way when a command is done; only `end` tells when it has gone (or nobody reads). */
const flushed = (stream: NodeJS.WriteStream): Promise<void> => new Promise((done) => stream.end(() => done()))

/** A reader that has seen enough (`| head`) is no failure; a full disk is. */
let isLost = false
process.stdout.on("error", (error: NodeJS.ErrnoException) => {
  if (error.code === "EPIPE") return
  isLost = true
  process.stderr.write(`certctl: the output could not be written: ${error.message}\n`)
})
process.stderr.on("error", () => undefined)

const code = await main()
await flushed(process.stdout)
await flushed(process.stderr)
// Handles that are still open (a connection pool, a watcher) must not keep a finished command alive.
process.exit(isLost ? 1 : code)
