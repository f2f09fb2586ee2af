/** The SSH target against a real sshd: a private instance with its own port, keys and configuration. */
import { afterAll, beforeAll, beforeEach, describe, expect, setDefaultTimeout, test } from "bun:test"
import { spawnSync } from "node:child_process"
import {
  chmodSync,
  chownSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  statSync,
  symlinkSync,
  unlinkSync,
  writeFileSync,
} from "node:fs"
import { join } from "node:path"
import ssh2, { type AuthContext, type Connection } from "ssh2"
import { testAuthority, testLeaf } from "../../../agent/agent-server.fake"
import type { Authority } from "../../pki/authority"
import { generateKey } from "../../pki/keys"
import { type Deployable, deploying, testTargetDeps } from "../../testing/deploying"
import { freePort } from "../../testing/free-port"
import { peer } from "../../testing/peers"
import { loginName, makeSshKey, type Sshd, sftpServer, startSshd } from "../../testing/sshd-peer"
import { openStage, type Stage } from "../../testing/stage"
import { until } from "../../testing/until"
import { secretKeysOf } from "../config"
import { ssh } from "./ssh"

setDefaultTimeout(60_000)

const sshd = peer("sshd", "openssh-server")
const agentProgram = peer("ssh-agent", "openssh-client")
const keygen = Bun.which("ssh-keygen")
const addProgram = Bun.which("ssh-add")
const root = join(import.meta.dir, "../../..")

/** Stands between sshd and its SFTP server, and kills a client just before it would replace a file for the nth time. */
const killerSource = `
import { readFileSync } from "node:fs"
const [, , folder, program] = process.argv
const child = Bun.spawn([program], { stdin: "pipe", stdout: "inherit", stderr: "inherit" })
let seen = 0
for await (const chunk of Bun.stdin.stream()) {
  const text = Buffer.from(chunk).toString("latin1")
  seen += text.split("posix-rename@openssh.com").length - 1
  let order = null
  try { order = JSON.parse(readFileSync(folder + "/kill.json", "utf8")) } catch {}
  if (order !== null && seen >= order.at) { process.kill(order.pid, "SIGKILL"); child.kill("SIGKILL"); process.exit(1) }
  child.stdin.write(chunk); await child.stdin.flush()
}
child.stdin.end()
process.exit(await child.exited)
`

describe.skipIf(sshd === null || keygen === null || process.platform !== "linux")("SSH", () => {
  let stage: Stage
  let authority: Authority
  const at = (...names: string[]) => stage.at(...names)
  const me = loginName()

  const startDaemon = (name: string, hostKey: string, lines: readonly string[] = [], port?: number): Promise<Sshd> =>
    startSshd(stage, sshd ?? "", { name, hostKey, lines, ...(port === undefined ? {} : { port }) })

  let daemon: Sshd
  let count = 0
  let place: string
  /** The remote folder of one test. */
  const remote = (name: string) => join(place, name)

  const config = (extra: Record<string, unknown> = {}) => ({
    host: "127.0.0.1",
    port: daemon.port,
    user: me,
    private_key_path: at("id"),
    cert_path: remote("site.pem"),
    key_path: remote("site.key"),
    ...extra,
  })
  const world = () => deploying(join(place, "agent"))
  const deploy = (leaf: Deployable, extra: Record<string, unknown> = {}) =>
    world().deploy(ssh, config(extra), leaf, authority.certPem)
  const leafFor = (name: string) => testLeaf(authority, [name])
  const text = (name: string) => readFileSync(remote(name), "utf8")
  /** What is in the remote folder beside what the tests put there. */
  const names = () =>
    readdirSync(place)
      .filter((name) => name.startsWith("site"))
      .sort()

  beforeAll(async () => {
    stage = openStage()
    chmodSync(stage.folder, 0o755)
    authority = await testAuthority()
    for (const name of ["host_key", "other_host_key", "id", "stranger"]) makeSshKey(stage, name)
    makeSshKey(stage, "id_locked", "open sesame")
    writeFileSync(
      at("authorized_keys"),
      ["id.pub", "id_locked.pub"].map((name) => readFileSync(at(name), "utf8")).join(""),
    )
    daemon = await startDaemon("main", "host_key")
  })

  beforeEach(() => {
    place = at(`place-${count++}`)
    mkdirSync(place)
  })

  afterAll(() => stage.end())

  test("puts certificate, chain and key there with their modes, once", async () => {
    const [first, second] = [await leafFor("one"), await leafFor("two")]
    expect((await deploy(first)).isIdempotent).toBe(false)
    expect(text("site.pem")).toBe(first.certPem + authority.certPem)
    expect(text("site.key")).toBe(first.keyPem)
    expect([statSync(remote("site.pem")).mode & 0o777, statSync(remote("site.key")).mode & 0o777]).toEqual([
      0o644, 0o600,
    ])
    const { ino } = statSync(remote("site.pem"))
    expect((await deploy(first, { reload_command: "false" })).isIdempotent).toBe(true)
    expect(statSync(remote("site.pem")).ino).toBe(ino)
    await deploy(second, { chain_path: remote("site.chain"), key_mode: "0640", cert_mode: "0600" })
    expect([text("site.pem"), text("site.chain")]).toEqual([second.certPem, authority.certPem])
    expect([statSync(remote("site.pem")).mode & 0o777, statSync(remote("site.key")).mode & 0o777]).toEqual([
      0o600, 0o640,
    ])
    expect(names()).toEqual(["site.chain", "site.key", "site.pem"])
  })

  test("checks before it reloads, on the remote host", async () => {
    const script = (name: string) => {
      writeFileSync(remote(name), `#!/bin/sh\necho ${name} >> ${remote("calls")}\n`, { mode: 0o755 })
      return remote(name)
    }
    await deploy(await leafFor("one"), { validate_command: script("check"), reload_command: script("reload") })
    expect(text("calls")).toBe("check\nreload\n")
  })

  test("a refused check brings everything back without a reload, in the remote program's words", async () => {
    const old = await leafFor("old")
    await deploy(old)
    chmodSync(remote("site.key"), 0o640)
    writeFileSync(remote("check"), "#!/bin/sh\necho syntax is bad >&2\nexit 3\n", { mode: 0o755 })
    const reload = `touch ${remote("reloaded")}`
    await expect(
      deploy(await leafFor("new"), { validate_command: `${remote("check")} now`, reload_command: reload }),
    ).rejects.toThrow(
      /validate_command \(.*check now\) ended with code 3: syntax is bad; backup_status_cert=restored, backup_status_key=restored, backup_status_chain=n\/a; it was taken back/,
    )
    expect([text("site.pem"), text("site.key")]).toEqual([old.certPem + authority.certPem, old.keyPem])
    expect(statSync(remote("site.key")).mode & 0o777).toBe(0o640)
    expect(names()).toEqual(["site.key", "site.pem"])
    expect(existsSync(remote("reloaded"))).toBe(false)
  })

  test("a failed reload removes what was not there before, and reloads again", async () => {
    writeFileSync(remote("reload"), `#!/bin/sh\nls ${place} | grep -c '^site.key$' >> ${remote("calls")}\nexit 1\n`, {
      mode: 0o755,
    })
    await expect(deploy(await leafFor("new"), { reload_command: remote("reload") })).rejects.toThrow(
      /backup_status_cert=removed, backup_status_key=removed/,
    )
    expect(names()).toEqual([])
    expect(text("calls")).toBe("1\n0\n")
  })

  test("a proof that fails brings the old files back over a new connection", async () => {
    const old = await leafFor("old")
    await deploy(old)
    const server = Bun.serve({
      port: 0,
      hostname: "127.0.0.1",
      tls: { cert: old.certPem, key: old.keyPem },
      fetch: () => new Response(),
    })
    try {
      const proof = { verify_host: "127.0.0.1", verify_port: server.port, post_deploy_verify_backoff: "10ms" }
      await expect(deploy(await leafFor("new"), proof)).rejects.toThrow(/the proof on the wire failed.*taken back/)
      expect(text("site.key")).toBe(old.keyPem)
      expect(names()).toEqual(["site.key", "site.pem"])
    } finally {
      await server.stop(true)
    }
  })

  test("a link stays a link, and the file it leads to keeps its owner", async () => {
    mkdirSync(remote("real"))
    writeFileSync(remote("real/site.pem"), "old")
    if (process.getuid?.() === 0) chownSync(remote("real/site.pem"), 65534, 65534)
    const { uid } = statSync(remote("real/site.pem"))
    symlinkSync("real/site.pem", remote("site.pem"))
    const leaf = await leafFor("one")
    await deploy(leaf)
    expect(readFileSync(remote("real/site.pem"), "utf8")).toContain(leaf.certPem)
    expect(statSync(remote("real/site.pem")).uid).toBe(uid)
    expect(readdirSync(remote("real"))).toEqual(["site.pem"])
  })

  test("a folder that is missing or no folder fails by name, in a deployment and in the check", async () => {
    writeFileSync(remote("file"), "")
    for (const cert_path of [remote("missing/site.pem"), remote("file/site.pem")]) {
      await expect(deploy(await leafFor("one"), { cert_path })).rejects.toThrow(/site\.pem/)
      const target = ssh.open(config({ cert_path }), world().deps)
      await expect(target.check?.()).rejects.toThrow(/is no folder of the host/)
    }
    expect(names()).toEqual([])
    await ssh.open(config(), world().deps).check?.()
    expect(names()).toEqual([])
  })

  test("a login without the right to write fails by name and reason, and the old files stay", async () => {
    const own = await startDaemon("narrow", "host_key", ["Subsystem sftp internal-sftp"])
    const old = await leafFor("old")
    await deploy(old)
    chmodSync(place, 0o755)
    const narrow = { user: "nobody", port: own.port }
    const before = [text("site.pem"), text("site.key")]
    // It may read neither the key nor write beside it.
    await expect(deploy(await leafFor("new"), narrow)).rejects.toThrow(/site\.key: Permission denied/)
    await expect(ssh.open(config(narrow), world().deps).check?.()).rejects.toThrow(
      /^cert_path: writing .*site\.pem.*: Permission denied/,
    )
    chmodSync(remote("site.key"), 0o644)
    await expect(deploy(await leafFor("new"), narrow)).rejects.toThrow(/writing .*certctl-bak.*: Permission denied/)
    expect([text("site.pem"), text("site.key")]).toEqual(before)
    expect(names()).toEqual(["site.key", "site.pem"])
  })

  test("the host key seen first is kept; another one is refused before any login, and nothing is written", async () => {
    const own = await startDaemon("pinned", "host_key")
    const { deps, warnings, deploy } = world()
    const extra = { port: own.port }
    await deploy(ssh, config(extra), await leafFor("one"), authority.certPem)
    expect(warnings.filter((line) => line.includes("never seen before"))).toHaveLength(1)
    const known = join(deps.stateFolder, "known_hosts")
    expect(statSync(known).mode & 0o777).toBe(0o600)
    expect(spawnSync(keygen ?? "", ["-F", `[127.0.0.1]:${own.port}`, "-f", known]).status).toBe(0)

    await own.process.kill()
    await startDaemon("changed", "other_host_key", [], own.port)
    const before = text("site.pem")
    const password = { auth_method: "password", password: "must-not-arrive" }
    await expect(
      deploy(ssh, config({ ...extra, ...password }), await leafFor("two"), authority.certPem),
    ).rejects.toThrow(/has changed its host key: it was SHA256:.* and is ssh-ed25519 SHA256:.*remove its line from/)
    expect(text("site.pem")).toBe(before)
    expect(readFileSync(at("changed.log"), "utf8")).not.toMatch(/Failed password|authenticating user/)
  })

  test("a fingerprint given beforehand decides alone", async () => {
    const shown = spawnSync(keygen ?? "", ["-l", "-f", at("host_key.pub")], { encoding: "utf8" }).stdout.split(" ")[1]
    const other = spawnSync(keygen ?? "", ["-l", "-f", at("other_host_key.pub")], { encoding: "utf8" }).stdout.split(
      " ",
    )[1]
    await expect(deploy(await leafFor("one"), { host_key_fingerprint: other })).rejects.toThrow(
      /has the host key ssh-ed25519 SHA256:.*, not that of host_key_fingerprint/,
    )
    expect(names()).toEqual([])
    await deploy(await leafFor("one"), { host_key_fingerprint: shown })
    expect(existsSync(join(place, "agent/state/known_hosts"))).toBe(false)
  })

  describe("logs in", () => {
    test("with a key that has a passphrase, and says what is wrong with it", async () => {
      const locked = { private_key_path: at("id_locked") }
      await deploy(await leafFor("one"), { ...locked, passphrase: "open sesame" })
      await expect(deploy(await leafFor("two"), { ...locked, passphrase: "close" })).rejects.toThrow(
        /private_key_path could not be decrypted: wrong passphrase/,
      )
      await expect(deploy(await leafFor("two"), locked)).rejects.toThrow(/private_key_path is encrypted/)
      await expect(deploy(await leafFor("two"), { private_key_path: at("nowhere") })).rejects.toThrow(
        /private_key_path: ENOENT/,
      )
      await expect(deploy(await leafFor("two"), { private_key_path: at("id.pub") })).rejects.toThrow(/no private key/)
    })

    test("with a key in the configuration, of any form that tools write", async () => {
      const inline = (private_key: string, passphrase?: string) => ({
        private_key_path: undefined,
        private_key,
        ...(passphrase === undefined ? {} : { passphrase }),
      })
      await deploy(await leafFor("one"), inline(readFileSync(at("id"), "utf8").trim()))
      const forms: [string, string | undefined][] = []
      for (const type of ["rsa-2048", "ecdsa-p256"] as const) {
        const key = await generateKey(type)
        const cipher = { cipher: "aes-256-cbc", passphrase: "secret" }
        forms.push([key.export({ type: "pkcs8", format: "pem" }).toString(), undefined])
        forms.push([key.export({ type: "pkcs8", format: "pem", ...cipher }).toString(), "secret"])
        forms.push([key.export({ type: type === "rsa-2048" ? "pkcs1" : "sec1", format: "pem" }).toString(), undefined])
        writeFileSync(at(`${type}.pem`), forms.at(-1)?.[0] ?? "", { mode: 0o600 })
        const { stdout } = spawnSync(keygen ?? "", ["-y", "-f", at(`${type}.pem`)], { encoding: "utf8" })
        writeFileSync(at("authorized_keys"), stdout, { flag: "a" })
      }
      for (const [pem, passphrase] of forms) await ssh.open(config(inline(pem, passphrase)), world().deps).check?.()
    })

    test("not with a stranger's key or a wrong password, which no error repeats", async () => {
      await expect(deploy(await leafFor("one"), { private_key_path: at("stranger") })).rejects.toThrow(
        /refused the login of .* by key/,
      )
      const failure = deploy(await leafFor("one"), { auth_method: "password", password: "hunter2-wrong" })
      await expect(failure).rejects.toThrow(/refused the login of .* by password/)
      await failure.catch((error) => expect(String(error)).not.toContain("hunter2"))
      expect(names()).toEqual([])
    })

    test("with an ssh-agent", async () => {
      const agent = Bun.spawn([agentProgram ?? "", "-D", "-a", at("agent.sock")], {
        stdout: "ignore",
        stderr: "ignore",
      })
      const before = process.env.SSH_AUTH_SOCK
      try {
        await until("the agent listens", () => existsSync(at("agent.sock")))
        process.env.SSH_AUTH_SOCK = at("agent.sock")
        expect(spawnSync(addProgram ?? "", ["-q", at("id")], { env: process.env }).status).toBe(0)
        await deploy(await leafFor("one"), { auth_method: "agent", private_key_path: undefined })
      } finally {
        if (before === undefined) delete process.env.SSH_AUTH_SOCK
        else process.env.SSH_AUTH_SOCK = before
        agent.kill()
        await agent.exited
      }
      await expect(deploy(await leafFor("two"), { auth_method: "agent", private_key_path: undefined })).rejects.toThrow(
        before === undefined ? /SSH_AUTH_SOCK/ : /./,
      )
    })

    // An account with a known password would be a change of the machine; this server only lets people in or not.
    for (const method of ["password", "keyboard-interactive"] as const) {
      test(`with a password, asked for by ${method}`, async () => {
        const tried: string[] = []
        const door = new ssh2.Server({ hostKeys: [readFileSync(at("host_key"))] }, (client: Connection) => {
          client.on("error", () => undefined)
          client.on("authentication", (context: AuthContext) => {
            tried.push(context.method)
            if (context.method === "password" && method === "password" && context.password === "right")
              return context.accept()
            if (context.method === "keyboard-interactive" && method === "keyboard-interactive") {
              context.prompt([{ prompt: "Password: ", echo: false }], ([answer]) =>
                answer === "right" ? context.accept() : context.reject(),
              )
              return
            }
            context.reject([method])
          })
          client.on("ready", () => client.on("session", (_accept, reject) => reject()))
        })
        await new Promise<void>((resolve) => door.listen(0, "127.0.0.1", resolve))
        try {
          const { port } = door.address() as { port: number }
          const target = (password: string) =>
            ssh.open(config({ port, auth_method: "password", password }), world().deps)
          await expect(target("right").check?.()).rejects.toThrow(/[Cc]hannel open failure/)
          await expect(target("wrong").check?.()).rejects.toThrow(/refused the login/)
          expect(tried).toContain(method)
        } finally {
          door.close()
        }
      })
    }
  })

  test("a server without posix-rename gets its files too", async () => {
    const plain = await startDaemon("plain", "host_key", [`Subsystem sftp ${sftpServer} -P posix-rename,fsync`])
    const [one, two] = [await leafFor("one"), await leafFor("two")]
    await deploy(one, { port: plain.port })
    await deploy(two, { port: plain.port })
    expect(text("site.key")).toBe(two.keyPem)
    expect(names()).toEqual(["site.key", "site.pem"])
  })

  test("a server that never answers, and none at all, fail within the time limit", async () => {
    const silent = Bun.listen({ hostname: "127.0.0.1", port: 0, socket: { data: () => undefined } })
    try {
      await expect(deploy(await leafFor("one"), { port: silent.port, timeout: 0.3 })).rejects.toThrow(
        /no login within 0.3 s|handshake/,
      )
    } finally {
      silent.stop(true)
    }
    await expect(deploy(await leafFor("one"), { port: await freePort() })).rejects.toThrow(/ECONNREFUSED|connect/i)
  })

  test("two deployments at once leave the files of one of them", async () => {
    const leaves = [await leafFor("one"), await leafFor("two")]
    const { deploy } = world()
    await Promise.all(leaves.map((leaf) => deploy(ssh, config(), leaf, authority.certPem)))
    const [left] = leaves.filter(({ keyPem }) => keyPem === text("site.key"))
    expect(text("site.pem")).toBe(`${left?.certPem}${authority.certPem}`)
    expect(names()).toEqual(["site.key", "site.pem"])
  })

  describe("killed", () => {
    let killer: Sshd
    beforeAll(async () => {
      writeFileSync(at("killer.ts"), killerSource)
      const line = `Subsystem sftp ${process.execPath} ${at("killer.ts")} ${stage.folder} ${sftpServer}`
      killer = await startDaemon("killer", "host_key", [line])
    })

    /** Key backup, certificate backup, certificate, key: the replacements of one deployment. */
    for (const rename of [1, 2, 3, 4]) {
      test(`before replacement ${rename} of 4: the next deployment knows what stood there`, async () => {
        const old = await leafFor("old")
        writeFileSync(remote("site.pem"), old.certPem + authority.certPem)
        writeFileSync(remote("site.key"), old.keyPem, { mode: 0o600 })
        const leaf = await leafFor("new")
        const settings = {
          config: config({ port: killer.port }),
          leaf,
          chain: authority.certPem,
          folder: join(place, "agent"),
        }
        writeFileSync(remote("settings.json"), JSON.stringify(settings))
        writeFileSync(
          remote("child.ts"),
          `import { readFileSync, writeFileSync } from "node:fs"
           import { ssh } from ${JSON.stringify(join(root, "src/connectors/targets/ssh"))}
           import { deploying } from ${JSON.stringify(join(root, "src/testing/deploying"))}
           const { config, leaf, chain, folder } = JSON.parse(readFileSync(${JSON.stringify(remote("settings.json"))}, "utf8"))
           writeFileSync(${JSON.stringify(at("kill.json"))}, JSON.stringify({ pid: process.pid, at: ${rename} }))
           await deploying(folder).deploy(ssh, config, leaf, chain)`,
        )
        const child = Bun.spawn([process.execPath, remote("child.ts")], { cwd: root, stderr: "pipe" })
        await child.exited
        unlinkSync(at("kill.json"))
        expect(child.signalCode).toBe("SIGKILL")
        expect(text("site.key")).toBe(old.keyPem)
        expect(text("site.pem").startsWith(rename === 4 ? leaf.certPem : old.certPem)).toBe(true)

        await expect(deploy(leaf, { reload_command: "false" })).rejects.toThrow(/backup_status_key=restored/)
        expect([text("site.pem"), text("site.key")]).toEqual([old.certPem + authority.certPem, old.keyPem])
        expect((await deploy(leaf)).isIdempotent).toBe(false)
        expect([text("site.pem"), text("site.key")]).toEqual([leaf.certPem + authority.certPem, leaf.keyPem])
        expect(names()).toEqual(["site.key", "site.pem"])
      })
    }
  })
})

describe("its configuration", () => {
  const good = {
    host: "web1",
    user: "deploy",
    private_key_path: "/etc/id",
    cert_path: "/etc/tls/site.pem",
    key_path: "/etc/tls/site.key",
  }
  const hostile: [key: string, value: unknown][] = [
    ["host", "web1;reboot"],
    ["host", "user@web1"],
    ["host", "a".repeat(254)],
    ["host", 7],
    ["port", 0],
    ["port", 65536],
    ["user", "two words"],
    ["user", "-oProxyCommand=x"],
    ["user", "a\nb"],
    ["auth_method", "none"],
    ["private_key_path", "id_ed25519"],
    ["private_key_path", undefined],
    ["cert_path", "site.pem"],
    ["cert_path", "/etc/../etc/site.pem"],
    ["key_path", "/etc/site\0.key"],
    ["key_path", good.cert_path],
    ["chain_path", good.key_path],
    ["cert_mode", "644"],
    ["cert_mode", "0999"],
    ["key_mode", "0644"],
    ["key_mode", "0o600"],
    ["reload_command", "systemctl reload nginx && reboot"],
    ["reload_command", "echo `id`"],
    ["reload_command", "echo $(id)"],
    ["validate_command", "nginx -t\nreboot"],
    ["validate_command", "a | b"],
    ["timeout", -1],
    ["host_key_fingerprint", "MD5:aa:bb"],
    ["host_key_fingerprint", "SHA256:short"],
  ]
  for (const [key, value] of hostile) {
    test(`refuses ${key} ${JSON.stringify(value)?.slice(0, 40)} by name`, () => {
      expect(() => ssh.open({ ...good, [key]: value }, testTargetDeps("/nonexistent"))).toThrow(new RegExp(key))
    })
  }

  test("keeps what opens the host secret", () => {
    expect(secretKeysOf(ssh.config)).toEqual(["private_key", "passphrase", "password"])
    expect(() =>
      ssh.open({ ...good, private_key_path: undefined, auth_method: "password" }, testTargetDeps("/nonexistent")),
    ).toThrow("must give password")
  })
})
