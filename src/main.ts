// Must come first: @peculiar/x509 needs the reflection API before its own first line.
import "reflect-metadata"

/** argv to one subcommand, and its outcome to an exit code; nothing else. */
const args = process.argv.slice(2)

const main = async (): Promise<number> => {
  // Asked for by scripts and health checks all the time: not worth loading the parser for.
  if (args.length === 1 && (args[0] === "version" || args[0] === "--version")) {
    return (await import("./commands/version")).printVersion()
  }
  return (await import("./commands/run")).run(args, process.env)
}

// Handles that are still open (a connection pool, a watcher) must not keep a finished command alive.
process.exit(await main())
