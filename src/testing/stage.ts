/**
 * Where a journey over several processes takes place: a folder of its own and the processes started in it. `npm test` builds the
 * executable first. CERTCTL_TEST_KEEP=1 leaves the folders with all logs behind.
 */
import { closeSync, mkdirSync, mkdtempSync, openSync, readFileSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"

/** CERTCTL_TEST_EXECUTABLE: another build than the one of this checkout, such as a released one. */
export const executable = process.env.CERTCTL_TEST_EXECUTABLE ?? join(import.meta.dir, "../../dist/certctl")

/** A running child and what it has written so far. */
export interface Program {
  readonly pid: number
  /** null while it runs; a program ended by a signal has 128 and the signal's number, as shells say it. */
  exitCode(): number | null
  readonly exited: Promise<number>
  stdout(): string
  stderr(): string
  /** As if the power had failed. */
  kill(): Promise<void>
  /** SIGTERM; resolves with the exit code. */
  stop(): Promise<number>
}

export interface ProgramOptions {
  /** The whole environment beside PATH and HOME: nothing of the machine's settings gets in. */
  readonly env?: Readonly<Record<string, string>>
  /** Names the files of its output, to which a program started again appends. */
  readonly name: string
  /** What ends it with the stage: SIGKILL, unless it has children that would stay behind. */
  readonly lastSignal?: NodeJS.Signals
}

export interface Stage {
  readonly folder: string
  at(...names: string[]): string
  run(argv: readonly [string, ...string[]], options: ProgramOptions): Program
  /** Runs when no program is left, before the folder goes, last one first. */
  onEnd(cleanup: () => unknown): void
  /** Ends every program and removes the folder. For `afterEach`: it is needed after a failure most of all. */
  end(): Promise<void>
}

export const openStage = (): Stage => {
  const folder = mkdtempSync(join(tmpdir(), "certctl-e2e-"))
  const running = new Map<Bun.Subprocess, NodeJS.Signals>()
  const cleanups: (() => unknown)[] = []
  const at = (...names: string[]) => join(folder, ...names)

  return {
    folder,
    at,

    run([program, ...argv], { env = {}, name, lastSignal = "SIGKILL" }) {
      const outPath = at(`${name}.out`)
      const errPath = at(`${name}.err`)
      const out = openSync(outPath, "a")
      const err = openSync(errPath, "a")
      const child = Bun.spawn([program, ...argv], {
        cwd: folder,
        env: { PATH: process.env.PATH ?? "", HOME: folder, ...env },
        stdio: ["ignore", out, err],
      })
      closeSync(out)
      closeSync(err)
      running.set(child, lastSignal)
      const exited = child.exited.finally(() => running.delete(child))
      return {
        pid: child.pid,
        exitCode: () => (child.signalCode === null ? child.exitCode : 128),
        exited,
        stdout: () => readFileSync(outPath, "utf8"),
        stderr: () => readFileSync(errPath, "utf8"),
        async kill() {
          child.kill("SIGKILL")
          await exited
        },
        stop() {
          child.kill("SIGTERM")
          return exited
        },
      }
    },

    onEnd: (cleanup) => void cleanups.push(cleanup),

    async end() {
      for (const [child, signal] of running) child.kill(signal)
      await Promise.all([...running.keys()].map((child) => child.exited))
      for (const cleanup of cleanups.reverse()) await cleanup()
      if (process.env.CERTCTL_TEST_KEEP === "1") console.log(`kept ${folder}`)
      else rmSync(folder, { recursive: true, force: true })
    },
  }
}

/** A folder of its own in a stage that goes on being the one to end; what is started there writes its output there. */
export const within = (stage: Stage, name: string): Stage => {
  mkdirSync(stage.at(name))
  return {
    ...stage,
    folder: stage.at(name),
    at: (...names) => stage.at(name, ...names),
    run: (argv, options) => stage.run(argv, { ...options, name: join(name, options.name) }),
  }
}
