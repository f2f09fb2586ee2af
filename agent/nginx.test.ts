/** The NGINX target against a real NGINX: a private instance with its own folder and port, never the machine's service. */
import { afterAll, beforeAll, describe, expect, setDefaultTimeout, test } from "bun:test"
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { probe } from "../src/connectors/probe"
import type { Material } from "../src/connectors/targets/contract"
import { nginx } from "../src/connectors/targets/nginx"
import type { Authority } from "../src/pki/authority"
import { parseCertificate } from "../src/pki/certificate"
import { deploying, testTargetDeps } from "../src/testing/deploying"
import { freePort } from "../src/testing/free-port"
import { peer } from "../src/testing/peers"
import { until } from "../src/testing/until"
import { testAuthority, testLeaf } from "./agent-server.fake"

// Real processes and sockets: slow machines are slow, not wrong.
setDefaultTimeout(60_000)

const program = peer("nginx", "nginx-light")

describe.skipIf(program === null)("NGINX", () => {
  let folder: string
  let port: number
  let authority: Authority
  let master: Bun.Subprocess
  const at = (name: string) => join(folder, name)

  const config = (extra: Record<string, unknown> = {}) => ({
    cert_path: at("tls/site.pem"),
    key_path: at("tls/site.key"),
    validate_command: `${program} -t -p ${folder} -c ${at("nginx.conf")}`,
    reload_command: `${program} -s reload -p ${folder} -c ${at("nginx.conf")}`,
    verify_host: "127.0.0.1",
    verify_port: port,
    verify_server_name: "site.example",
    post_deploy_verify_backoff: "50ms",
    post_deploy_verify_attempts: 8,
    ...extra,
  })

  const deploy = async (
    leaf: Awaited<ReturnType<typeof testLeaf>>,
    extra: Record<string, unknown> = {},
    material: Partial<Material> = {},
  ) => {
    return deploying(folder).deploy(nginx, config(extra), leaf, authority.certPem, material)
  }

  const served = async () => {
    const result = await probe({ host: "127.0.0.1", port, serverName: "site.example", timeoutMs: 2000 })
    return result.ok ? result.served.fingerprint : result.error
  }

  const onDisk = () => parseCertificate(readFileSync(at("tls/site.pem"), "utf8")).fingerprint

  /** Workers of before a reload may take a last connection, so it is a matter of waiting. */
  const serves = (fingerprint: string) =>
    until(`it serves ${fingerprint}`, async () => (await served()) === fingerprint)

  beforeAll(async () => {
    folder = mkdtempSync(join(tmpdir(), "certctl-nginx-"))
    port = await freePort()
    authority = await testAuthority()
    mkdirSync(at("tls"))
    mkdirSync(at("tmp"))
    const first = await testLeaf(authority, ["site.example"])
    writeFileSync(at("tls/site.pem"), first.certPem)
    writeFileSync(at("tls/site.key"), first.keyPem, { mode: 0o600 })
    const temporary = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"].map(
      (name) => `${name}_temp_path ${at("tmp")};`,
    )
    writeFileSync(
      at("nginx.conf"),
      `daemon off; pid ${at("nginx.pid")}; error_log ${at("error.log")}; worker_processes 1;
       events { worker_connections 64; }
       http { access_log off; ${temporary.join(" ")}
         server { listen 127.0.0.1:${port} ssl; server_name site.example;
           ssl_certificate ${at("tls/site.pem")}; ssl_certificate_key ${at("tls/site.key")};
           location / { return 200 "ok"; } } }`,
    )
    master = Bun.spawn([program ?? "", "-p", folder, "-c", at("nginx.conf")], { stdout: "ignore", stderr: "ignore" })
    await until("NGINX serves", async () => /^[0-9a-f]{64}$/.test(await served()))
  })

  afterAll(async () => {
    master?.kill("SIGTERM")
    await master?.exited
    rmSync(folder, { recursive: true })
  })

  test("serves what was deployed, whole chain included, and the key stays private", async () => {
    const leaf = await testLeaf(authority, ["site.example"])
    const { isIdempotent, backups } = await deploy(leaf)
    expect(isIdempotent).toBe(false)
    expect(backups).toHaveLength(2)
    await serves(leaf.fingerprint)
    await until("the chain comes with it", async () => {
      const result = await probe({ host: "127.0.0.1", port, serverName: "site.example", timeoutMs: 2000 })
      return result.ok && result.served.chainDer.length === 2
    })
    expect((await Bun.file(at("tls/site.key")).stat()).mode & 0o777).toBe(0o600)
    expect((await deploy(leaf)).isIdempotent).toBe(true)
  })

  test("loses no request while it is reloaded again and again", async () => {
    let failures = 0
    let requests = 0
    let isDone = false
    const load = (async () => {
      while (!isDone) {
        const answer = await fetch(`https://127.0.0.1:${port}/`, {
          keepalive: false,
          tls: { rejectUnauthorized: false },
        }).catch(() => null)
        requests++
        if (answer?.status !== 200) failures++
      }
    })()
    for (let round = 0; round < 5; round++) await deploy(await testLeaf(authority, ["site.example"]))
    isDone = true
    await load
    expect(requests).toBeGreaterThan(5)
    expect(failures).toBe(0)
  })

  test("that refuses the new files keeps the old ones, and its own words reach the operator", async () => {
    const before = onDisk()
    const files = () => ["site.pem", "site.key"].map((name) => readFileSync(at(`tls/${name}`), "utf8"))
    const old = files()
    const leaf = await testLeaf(authority, ["site.example"])
    const other = await testLeaf(authority, ["site.example"])
    await expect(deploy(leaf, {}, { keyPem: other.keyPem })).rejects.toThrow(
      /check of the new files failed: .*(key values mismatch|SSL_CTX_use_PrivateKey).*the previous files were restored/s,
    )
    expect(files()).toEqual(old)
    await serves(before)
  })

  test("whose reload fails goes back, and says so", async () => {
    const before = onDisk()
    const leaf = await testLeaf(authority, ["site.example"])
    await expect(deploy(leaf, { reload_command: `${program} -s reload -c ${at("missing.conf")}` })).rejects.toThrow(
      /the reload failed: .*missing\.conf.*No such file.*site\.pem restored/s,
    )
    await serves(before)
    expect(readdirSync(at("journal"))).toEqual([])
  })

  test("that was reloaded but serves something else gets its old files back", async () => {
    const before = onDisk()
    const leaf = await testLeaf(authority, ["site.example"])
    await expect(deploy(leaf, { reload_command: "true", post_deploy_verify_attempts: 2 })).rejects.toThrow(
      "the proof on the wire failed",
    )
    await serves(before)
  })
})

describe("the NGINX configuration", () => {
  const open = (config: Record<string, unknown>) => nginx.open(config, testTargetDeps("/nonexistent"))
  const material: Material = {
    certificateId: "mc",
    jobId: "job",
    certPem: "LEAF\n",
    chainPem: "CHAIN\n",
    keyPem: "KEY\n",
  }

  test("needs only the certificate's path; the chain follows the leaf", async () => {
    const { files, steps } = await open({ cert_path: "/x/c.pem" }).plan(material)
    expect(files.map(({ path, bytes }) => [path, Buffer.from(bytes).toString()])).toEqual([
      ["/x/c.pem", "LEAF\nCHAIN\n"],
    ])
    expect(steps).toEqual([
      { kind: "validate", run: { key: "validate_command", command: "nginx -t" } },
      { kind: "reload", run: { key: "reload_command", command: "nginx -s reload" } },
    ])
  })

  test("asks systemd for the reload where there is one", async () => {
    const target = nginx.open({ cert_path: "/x/c.pem" }, testTargetDeps("/nonexistent", { hasSystemd: true }))
    expect((await target.plan(material)).steps[1]).toMatchObject({ run: { command: "systemctl reload nginx" } })
  })

  test("writes the chain alone where it has a path of its own, in the order certificate, chain, key", async () => {
    const { files } = await open({ cert_path: "/x/c.pem", chain_path: "/x/chain.pem", key_path: "/x/k.pem" }).plan(
      material,
    )
    expect(files.map(({ path, bytes, isKey }) => [path, Buffer.from(bytes).toString(), isKey])).toEqual([
      ["/x/c.pem", "LEAF\n", false],
      ["/x/chain.pem", "CHAIN\n", false],
      ["/x/k.pem", "KEY\n", true],
    ])
  })

  const hostile: [config: Record<string, unknown>, words: string][] = [
    [{}, "cert_path is required"],
    [{ cert_path: "" }, "cert_path must be an absolute path"],
    [{ cert_path: "c.pem" }, "cert_path must be an absolute path"],
    [{ cert_path: "/etc/nginx/../shadow" }, "cert_path must not contain .. segments"],
    [{ cert_path: "/etc/c\0.pem" }, "cert_path must not contain NUL"],
    [{ cert_path: "/etc/" }, "cert_path must name a file"],
    [{ cert_path: ["/etc/c.pem"] }, "cert_path must be string"],
    [{ cert_path: "/c", key_path: "../../k" }, "key_path must be an absolute path"],
    [{ cert_path: "/c", chain_path: "/a/../b" }, "chain_path must not contain .. segments"],
    [{ cert_path: "/c", reload_command: "nginx -s reload; reboot" }, "reload_command must be a program"],
    [{ cert_path: "/c", reload_command: "" }, "reload_command must not be empty"],
    [{ cert_path: "/c", validate_command: "nginx -t && id" }, "validate_command must be a program"],
    [{ cert_path: "/c", validate_command: "nginx $(id)" }, "validate_command must be a program"],
    [{ cert_path: "/c", key_file_mode: "0644" }, "key_file_mode must not let everybody"],
    [{ cert_path: "/c", key_file_mode: "rw-------" }, "key_file_mode must be a file mode"],
    [{ cert_path: "/c", cert_file_mode: 0o4755 }, "cert_file_mode must be a file mode"],
    [{ cert_path: "/c", cert_file_owner: "root; id", cert_file_group: "0" }, "cert_file_owner must be"],
    [{ cert_path: "/c", cert_file_owner: "root" }, "must give the owner and the group"],
    [{ cert_path: "/c", backup_retention: -2 }, "backup_retention must be"],
    [{ cert_path: "/c", verify_port: 70_000 }, "verify_port must be"],
    [{ cert_path: "/c", post_deploy_verify_backoff: "soon" }, "post_deploy_verify_backoff must be"],
  ]
  for (const [config, words] of hostile) {
    test(`is refused: ${JSON.stringify(config).slice(0, 80)}`, () => {
      expect(() => open(config)).toThrow(words)
    })
  }
})
