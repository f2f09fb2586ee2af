/** The NGINX target against a real NGINX, and what its configuration plans and refuses. */
import { describe, expect, setDefaultTimeout, test } from "bun:test"
import { testTargetDeps } from "../../testing/deploying"
import { fileTargetScenarios } from "../../testing/file-target-scenarios"
import { nginxProduct } from "../../testing/products/nginx.product"
import type { Material } from "./contract"
import { nginx } from "./nginx"

// Real processes and sockets: slow machines are slow, not wrong.
setDefaultTimeout(60_000)

fileTargetScenarios(nginxProduct, (run) => {
  test("answers every request while it is reloaded again and again", async () => {
    const { stage, deploy, leaf } = run()
    let isOver = false
    const answers: (number | string)[] = []
    const load = (async () => {
      while (!isOver) {
        const request = { keepalive: false, tls: { rejectUnauthorized: false } }
        answers.push(await fetch(`https://127.0.0.1:${stage.port}/`, request).then(({ status }) => status, String))
      }
    })()
    for (let round = 0; round < 5; round++) await deploy(await leaf())
    isOver = true
    await load
    expect(answers.length).toBeGreaterThan(5)
    expect(answers.filter((answer) => answer !== 200)).toEqual([])
  })

  test("whose reload fails has its own words in the error", async () => {
    const { stage, deploy, leaf } = run()
    const reload_command = `${nginxProduct.program} -s reload -c ${stage.at("missing.conf")}`
    await expect(deploy(await leaf(), { reload_command })).rejects.toThrow(
      /the reload failed: .*missing\.conf.*No such file.*cert\.pem restored/s,
    )
  })

  test("that was not reloaded and serves something else gets its old files back", async () => {
    const { deploy, leaf, onDisk, current, serves } = run()
    const [before, old] = [await current(), onDisk()]
    await expect(deploy(await leaf(), { reload_command: "true", post_deploy_verify_attempts: 2 })).rejects.toThrow(
      "the proof on the wire failed",
    )
    expect(onDisk()).toEqual(old)
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
