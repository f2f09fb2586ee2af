/** A private sshd with its own port, keys and configuration, never the machine's service. */
import { mkdirSync, writeFileSync } from "node:fs"
import { connect } from "node:net"
import { freePort } from "./free-port"
import type { Program, Stage } from "./stage"
import { until } from "./until"

export const sftpServer = "/usr/lib/openssh/sftp-server"

export interface Sshd {
  readonly port: number
  readonly process: Program
}

export interface SshdOptions {
  readonly name: string
  /** File in the stage's folder. */
  readonly hostKey: string
  /** Of its configuration, added. */
  readonly lines?: readonly string[]
  readonly port?: number
}

/** Who logs in where these tests run: Bun's own words for it are "unknown". */
export const loginName = (): string => Bun.spawnSync(["id", "-un"]).stdout.toString().trim()

/** Makes an Ed25519 key `name` and `name.pub` in the stage's folder. Fails when ssh-keygen does. */
export const makeSshKey = (stage: Stage, name: string, passphrase = ""): void => {
  const { exitCode, stderr } = Bun.spawnSync([
    ...["ssh-keygen", "-q", "-t", "ed25519"],
    ...["-N", passphrase, "-f", stage.at(name)],
  ])
  if (exitCode !== 0) throw new Error(stderr.toString())
}

/** Lets in whoever has a key in the stage's `authorized_keys`. Resolves when it listens. */
export const startSshd = async (
  stage: Stage,
  program: string,
  { name, hostKey, lines = [], port: wanted }: SshdOptions,
): Promise<Sshd> => {
  // Where it locks itself in before a login.
  mkdirSync("/run/sshd", { recursive: true })
  const port = wanted ?? (await freePort())
  const config = [
    `Port ${port}`,
    "ListenAddress 127.0.0.1",
    `HostKey ${stage.at(hostKey)}`,
    `AuthorizedKeysFile ${stage.at("authorized_keys")}`,
    `PidFile ${stage.at(`${name}.pid`)}`,
    "StrictModes no",
    "UsePAM no",
    "PermitRootLogin yes",
    "PasswordAuthentication yes",
    "KbdInteractiveAuthentication no",
    "MaxStartups 100",
    ...lines,
    ...(lines.some((line) => line.startsWith("Subsystem")) ? [] : [`Subsystem sftp ${sftpServer}`]),
  ]
  writeFileSync(stage.at(`${name}.conf`), `${config.join("\n")}\n`)
  const argv = [program, "-D", "-E", stage.at(`${name}.log`), "-f", stage.at(`${name}.conf`)] as const
  const process = stage.run(argv, { name: `${name}-sshd` })
  await until("sshd listens", () => {
    if (process.exitCode() !== null) throw new Error(`sshd ended: ${process.stderr()}`)
    return greets(port)
  })
  return { port, process }
}

const greets = (port: number) =>
  new Promise<boolean>((resolve) => {
    const socket = connect(port, "127.0.0.1")
    socket.once("data", () => {
      resolve(true)
      socket.destroy()
    })
    socket.once("error", () => resolve(false))
  })
