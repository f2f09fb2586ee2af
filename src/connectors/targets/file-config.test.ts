/** What the targets that write PEM files plan, and what they refuse before anything reaches a host. */
import { describe, expect, test } from "bun:test"
import { mkdtempSync, rmSync, symlinkSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { testTargetDeps } from "../../testing/deploying"
import { apache } from "./apache"
import { caddy } from "./caddy"
import type { Material, TargetDefinition } from "./contract"
import { envoy } from "./envoy"
import { haproxy } from "./haproxy"
import { dovecot, postfix } from "./mail-server"
import { nginx } from "./nginx"
import { traefik } from "./traefik"

const deps = testTargetDeps("/nonexistent")
const material: Material = {
  certificateId: "mc",
  jobId: "job",
  certPem: "LEAF\n",
  chainPem: "CHAIN\n",
  keyPem: "KEY\n",
}

type Config = Record<string, unknown>
interface Kind {
  readonly connector: TargetDefinition
  /** The least that opens. */
  readonly base: Config
  readonly paths?: readonly string[]
  readonly folders?: readonly string[]
  readonly names?: readonly string[]
  readonly commands?: readonly string[]
  readonly placed: readonly string[]
}

const webKeys = {
  paths: ["cert_path", "chain_path", "key_path"],
  commands: ["reload_command", "validate_command"],
  placed: ["cert", "chain", "key"],
}
const kinds: readonly Kind[] = [
  { connector: nginx, base: { cert_path: "/c" }, ...webKeys },
  { connector: apache, base: { cert_path: "/c" }, ...webKeys },
  { connector: postfix, base: {}, ...webKeys },
  { connector: dovecot, base: {}, ...webKeys },
  {
    connector: haproxy,
    base: { pem_path: "/p" },
    paths: ["pem_path"],
    commands: ["reload_command", "validate_command"],
    placed: ["pem"],
  },
  {
    connector: traefik,
    base: { cert_dir: "/d" },
    folders: ["cert_dir"],
    names: ["cert_file", "key_file"],
    placed: ["cert", "key"],
  },
  {
    connector: caddy,
    base: { mode: "file", cert_dir: "/d" },
    folders: ["cert_dir"],
    names: ["cert_file", "key_file"],
    commands: ["reload_command"],
    placed: ["cert", "key"],
  },
  {
    connector: envoy,
    base: { cert_dir: "/d" },
    folders: ["cert_dir"],
    names: ["cert_filename", "key_filename", "chain_filename"],
    placed: ["cert", "chain", "key"],
  },
]

const badPlaces = [
  "relative",
  "./c",
  "../c",
  "/etc/../shadow",
  "/etc/..",
  "/c\0.pem",
  `/${"x".repeat(4096)}`,
  "",
  7,
  ["/c"],
  null,
]
const badNames = ["a/b", "/etc/passwd", "..\\b", "a\\b", "..", ".", "a\0", "a\nb", "a\rb", "x".repeat(201), 7, {}, null]
const badCommands = [
  "x; reboot",
  "x && id",
  "x | id",
  "x & id",
  "x $(id)",
  "x `id`",
  "x $HOME",
  "x > /etc/passwd",
  "x < /etc/shadow",
  "x 'a'",
  'x "a"',
  "x\\y",
  "x {a,b}",
  "x\nid",
  "x\rid",
  "x\0id",
  "   ",
  "x".repeat(1025),
  7,
  ["x"],
  null,
]

for (const { connector, base, paths = [], folders = [], names = [], commands = [], placed } of kinds) {
  describe(`a configuration of ${connector.type} is refused, naming the key:`, () => {
    const refused = (key: string, value: unknown, words: RegExp = /./) => {
      const problem = (() => {
        try {
          connector.open({ ...base, [key]: value }, deps)
          return "nothing"
        } catch (error) {
          return error instanceof Error ? error.message : ""
        }
      })()
      expect(problem).toMatch(new RegExp(`(^|; )${key} (must|is required)`))
      expect(problem).toMatch(words)
    }

    test("paths and folders", () => {
      for (const key of [...paths, ...folders]) {
        const mayBeEmpty = key === "chain_path" || key === "key_path"
        for (const value of badPlaces) if (!(mayBeEmpty && value === "")) refused(key, value)
      }
      for (const key of paths) refused(key, "/etc/", /must name a file, not a folder/)
    })
    test("file names", () => {
      for (const key of names) for (const value of badNames) refused(key, value)
    })
    test("commands", () => {
      for (const key of commands) for (const value of badCommands) refused(key, value)
    })
    test("modes, owners and numbers", () => {
      for (const file of placed) {
        for (const mode of ["rw-------", "0999", 0o4755, -1, "", null, []]) refused(`${file}_file_mode`, mode)
        for (const owner of ["root; id", "a b", "", -1, 1.5, null, {}]) refused(`${file}_file_owner`, owner)
        for (const group of ["$(id)", "a\nb", null]) refused(`${file}_file_group`, group)
        expect(() => connector.open({ ...base, [`${file}_file_owner`]: "root" }, deps)).toThrow("owner and the group")
        if (file === "key" || file === "pem") refused(`${file}_file_mode`, "0644", /must not let everybody/)
      }
      for (const value of [-2, 1.5, 101, "3", null]) refused("backup_retention", value)
      for (const value of [0, 65_536, "443", null]) refused("verify_port", value)
      for (const value of ["ssh", 1, null]) refused("verify_starttls", value)
      for (const value of [0, 21, null]) refused("post_deploy_verify_attempts", value)
      for (const value of ["soon", -1, null]) refused("post_deploy_verify_backoff", value)
    })
  })
}

describe("two keys for one file are refused", () => {
  const cases: [TargetDefinition, Config, string][] = [
    [nginx, { cert_path: "/c", key_path: "/c" }, "key_path must name another file than cert_path"],
    [apache, { cert_path: "/c", chain_path: "/c" }, "chain_path must name another file than cert_path"],
    [traefik, { cert_dir: "/d", key_file: "cert.pem" }, "key_file must name another file than cert_file"],
    [envoy, { cert_dir: "/d", sds_config: true, key_filename: "sds.json" }, "sds_config must name another file"],
    [caddy, { mode: "file", cert_dir: "/d/", cert_file: "key.pem" }, "key_file must name another file than cert_file"],
  ]
  for (const [connector, config, words] of cases) {
    test(connector.type, () => expect(() => connector.open(config, deps)).toThrow(words))
  }
})

describe("the plan", () => {
  const planned = async (connector: TargetDefinition, config: Config, hasSystemd = false) => {
    const { files, steps, deploymentId, address } = await connector.open(config, { ...deps, hasSystemd }).plan(material)
    return {
      files: files.map(({ path, bytes, isKey, defaultMode, defaultUsers }) =>
        [path, Buffer.from(bytes).toString(), isKey, defaultMode.toString(8), defaultUsers?.join()].join(" "),
      ),
      commands: steps.flatMap((step) =>
        "run" in step && step.kind !== "action" ? [`${step.kind} ${step.run.command}`] : [],
      ),
      deploymentId: deploymentId.replace(/\d+/, "N"),
      address,
    }
  }

  test("of Apache is certificate, key, chain", async () => {
    const users = "apache,www-data,httpd"
    expect(await planned(apache, { cert_path: "/c", chain_path: "/ch", key_path: "/k" })).toEqual({
      files: [`/c LEAF\n false 644 ${users}`, `/k KEY\n true 600 ${users}`, `/ch CHAIN\n false 644 ${users}`],
      commands: ["validate apachectl configtest", "reload apachectl graceful"],
      deploymentId: "apache-N",
      address: "/c",
    })
  })

  test("takes an empty path for one that is left out", async () => {
    const { files } = await planned(nginx, { cert_path: "/c", chain_path: "", key_path: "" })
    expect(files).toEqual(["/c LEAF\nCHAIN\n false 644 nginx,www-data"])
    expect((await planned(dovecot, { key_path: "" })).files).toHaveLength(1)
  })

  test("of HAProxy is one file that only its user reads; without a check command nothing is checked", async () => {
    expect(await planned(haproxy, { pem_path: "/p", validate_command: "" })).toEqual({
      files: ["/p LEAF\nCHAIN\nKEY\n true 600 haproxy"],
      commands: ["reload systemctl reload haproxy"],
      deploymentId: "haproxy-N",
      address: "/p",
    })
  })

  test("of Postfix and Dovecot has each one's defaults", async () => {
    expect(await planned(postfix, {})).toEqual({
      files: [
        "/etc/postfix/certs/cert.pem LEAF\nCHAIN\n false 644 postfix,_postfix",
        "/etc/postfix/certs/key.pem KEY\n true 600 postfix,_postfix",
      ],
      commands: ["validate postfix check", "reload postfix reload"],
      deploymentId: "postfix-N",
      address: "/etc/postfix/certs/cert.pem",
    })
    expect((await planned(dovecot, { mode: "dovecot" })).commands).toEqual([
      "validate doveconf -n",
      "reload doveadm reload",
    ])
  })

  test("of Traefik and of Caddy by files is two files in a folder", async () => {
    expect((await planned(traefik, { cert_dir: "/d/" })).files).toEqual([
      "/d/cert.pem LEAF\nCHAIN\n false 644 traefik",
      "/d/key.pem KEY\n true 600 traefik",
    ])
    expect(await planned(caddy, { mode: "file", cert_dir: "/d", reload_command: "caddy reload" })).toEqual({
      files: ["/d/cert.pem LEAF\nCHAIN\n false 644 caddy", "/d/key.pem KEY\n true 600 caddy"],
      commands: ["reload caddy reload"],
      deploymentId: "caddy-file-N",
      address: "/d/cert.pem",
    })
  })
})

test("a mail server's mode must be what its type says", () => {
  expect(() => postfix.open({ mode: "dovecot" }, deps)).toThrow("mode must be postfix, as the target's type says")
  expect(() => dovecot.open({ mode: "postfix" }, deps)).toThrow("mode must be dovecot, as the target's type says")
})

describe("Caddy's configuration", () => {
  const refused: [Config, string][] = [
    [{ mode: "both" }, "mode must be api or file"],
    [{ mode: "file" }, "cert_dir must be given in file mode"],
    [{ admin_api: "localhost:2019" }, "admin_api must be an http or https URL"],
    [{ admin_api: "ftp://localhost" }, "admin_api must be an http or https URL"],
    [{ admin_api: "file:///etc/passwd" }, "admin_api must be an http or https URL"],
    [{ admin_api: "http://user:hunter2@localhost:2019" }, "admin_api must not hold credentials"],
    [{ admin_api: "https://caddy.example/?a=b" }, "admin_api must be a base URL"],
    [{ admin_api: "https://caddy.example/#a" }, "admin_api must be a base URL"],
    [{ admin_api: "http://local host:2019" }, "admin_api must be"],
    [{ admin_api: "http://localhost:2019\r\nX: y" }, "admin_api must be"],
    [{ admin_api: "http://caddy.example:2019" }, "admin_api must be https unless"],
    [{ admin_api: "http://localhost.example:2019" }, "admin_api must be https unless"],
    [{ admin_api: "http://127.0.0.1.example:2019" }, "admin_api must be https unless"],
    [{ admin_api: 2019 }, "admin_api must be string"],
  ]
  for (const [config, words] of refused) {
    test(`is refused: ${JSON.stringify(config)}`, () => {
      expect(() => caddy.open(config, deps)).toThrow(words)
      expect(() => caddy.open(config, deps)).not.toThrow("hunter2")
    })
  }
  test("takes every form of this host's address and any by https", () => {
    for (const admin_api of [
      "http://localhost:2019/",
      "http://127.0.0.1:2019",
      "http://[::1]:2019",
      "https://c.example",
    ]) {
      caddy.open({ admin_api }, deps)
    }
  })
})

describe("the check of a place", () => {
  test("names what is in the way, and leaves nothing behind", async () => {
    const folder = mkdtempSync(join(tmpdir(), "certctl-place-"))
    const at = (name: string) => join(folder, name)
    symlinkSync(at("nowhere"), at("dangling.pem"))
    symlinkSync("/dev/null", at("device.pem"))
    writeFileSync(at("key.pem"), "k", { mode: 0o644 })
    const check = (config: Config) => haproxy.open({ reload_command: "true", ...config }, deps).check?.()
    const cases: [Config, RegExp][] = [
      [{ pem_path: folder }, /^pem_path: .* is not a regular file/],
      [{ pem_path: at("dangling.pem") }, /^pem_path: .* is a link that leads nowhere/],
      [{ pem_path: at("device.pem") }, /^pem_path: .* leads to \/dev\/null, not a regular file/],
      [{ pem_path: "/proc/site.pem" }, /^pem_path: \/proc cannot be written to by the agent/],
      [
        { pem_path: at("new.pem"), pem_file_owner: "no-such-user", pem_file_group: "0" },
        /^pem_path: user no-such-user does not exist on this host/,
      ],
      [{ pem_path: at("new.pem"), reload_command: "/no/such/program" }, /^reload_command: .*\/no\/such\/program/],
      [{ pem_path: at("new.pem"), validate_command: "false" }, /^validate_command \(false\) ended with code 1/],
    ]
    for (const [config, words] of cases) await expect(check(config)).rejects.toThrow(words)
    await check({ pem_path: at("key.pem") })
    await check({ pem_path: at("new.pem") })
    expect([...new Bun.Glob("**").scanSync({ cwd: folder, dot: true })].sort()).toEqual(["key.pem"])
    rmSync(folder, { recursive: true })
  })
})
