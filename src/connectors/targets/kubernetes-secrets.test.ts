import { afterEach, beforeAll, beforeEach, describe, expect, test } from "bun:test"
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { testAuthority, testLeaf } from "../../../agent/agent-server.fake"
import type { Authority } from "../../pki/authority"
import { type Deployable, deploying, testTargetDeps } from "../../testing/deploying"
import { freePort } from "../../testing/free-port"
import { commandChecker } from "../command"
import { fromKubeconfig, inCluster } from "./kubernetes.credentials"
import { startFakeKubernetes } from "./kubernetes.fake"
import { kubernetesSecrets } from "./kubernetes-secrets"

const kubectl = Bun.which("kubectl")

describe("KubernetesSecrets", () => {
  let folder: string
  let authority: Authority
  let fake: Awaited<ReturnType<typeof startFakeKubernetes>>
  let world: ReturnType<typeof deploying>
  const at = (...names: string[]) => join(folder, ...names)

  const config = (extra: Record<string, unknown> = {}) => ({
    namespace: "web",
    secret_name: "site-tls",
    labels: { team: "web" },
    kubeconfig_path: at("kubeconfig"),
    ...extra,
  })
  const deploy = (leaf: Deployable, extra: Record<string, unknown> = {}) =>
    world.deploy(kubernetesSecrets, config(extra), leaf, authority.certPem)
  const leafFor = (name: string) => testLeaf(authority, [name])
  const stored = () => fake.state.secrets.get("web/site-tls")
  const decoded = (key: string) => Buffer.from(stored()?.data[key] ?? "", "base64").toString()
  const methods = () => fake.state.seen.map(({ method }) => method)
  const useKubeconfig = (text: string) => writeFileSync(at("kubeconfig"), text, { mode: 0o600 })
  const open = (extra: Record<string, unknown> = {}) => kubernetesSecrets.open(config(extra), world.deps)

  beforeAll(async () => {
    authority = await testAuthority()
  })
  beforeEach(async () => {
    folder = mkdtempSync(join(tmpdir(), "certctl-kubernetes-"))
    fake = await startFakeKubernetes()
    useKubeconfig(fake.kubeconfig())
    world = deploying(at("agent"))
  })
  afterEach(async () => {
    await fake.stop()
    rmSync(folder, { recursive: true })
  })

  test("creates the Secret, leaves it alone when it is right, and replaces it", async () => {
    const [first, second] = [await leafFor("one"), await leafFor("two")]
    expect((await deploy(first)).isIdempotent).toBe(false)
    expect([decoded("tls.crt"), decoded("tls.key")]).toEqual([first.certPem + authority.certPem, first.keyPem])
    expect(stored()).toMatchObject({
      type: "kubernetes.io/tls",
      metadata: {
        labels: { "app.kubernetes.io/managed-by": "certctl", team: "web" },
        annotations: { "certctl.io/certificate-id": "mc-site" },
      },
    })
    expect(Date.parse(stored()?.metadata.annotations?.["certctl.io/deployed-at"] ?? "")).toBeGreaterThan(0)
    fake.state.seen.length = 0
    expect((await deploy(first)).isIdempotent).toBe(true)
    expect(methods()).toEqual(["GET"])
    await deploy(second)
    expect(decoded("tls.key")).toBe(second.keyPem)
  })

  test("keeps what others put into the Secret", async () => {
    const data = { "tls.crt": "", "tls.key": "", "ca.crt": "Y2E=" }
    fake.put({ namespace: "web", name: "site-tls", data, labels: { theirs: "1" }, annotations: { note: "n" } })
    await deploy(await leafFor("one"))
    expect(stored()?.data["ca.crt"]).toBe("Y2E=")
    expect(stored()?.metadata.labels).toMatchObject({ theirs: "1", team: "web" })
    expect(stored()?.metadata.annotations).toMatchObject({ note: "n" })
  })

  test("reads again when somebody else was faster, three times", async () => {
    const secret = fake.put({ namespace: "web", name: "site-tls" })
    let faster = 2
    fake.state.beforeWrite = () => {
      if (faster-- > 0) fake.put({ ...secret.metadata, labels: { round: String(faster) } })
    }
    const leaf = await leafFor("one")
    await deploy(leaf)
    expect(stored()?.metadata.labels).toMatchObject({ round: "0", team: "web" })
    faster = 3
    await expect(deploy(await leafFor("two"))).rejects.toThrow(
      /updating Secret web\/site-tls: HTTP 409: .*been modified/,
    )
  })

  test("made by somebody else in the same moment is updated, not created", async () => {
    fake.state.beforeWrite = () => {
      fake.state.beforeWrite = null
      fake.put({ namespace: "web", name: "site-tls", labels: { theirs: "1" } })
    }
    await deploy(await leafFor("one"))
    expect(stored()?.metadata.labels).toMatchObject({ theirs: "1", team: "web" })
  })

  test("of another type or immutable stays as it is, with the reason", async () => {
    fake.put({ namespace: "web", name: "site-tls", type: "Opaque", data: {} })
    await expect(deploy(await leafFor("one"))).rejects.toThrow(/secret_name: .* of type Opaque, not kubernetes.io\/tls/)
    fake.put({ namespace: "web", name: "site-tls", immutable: true })
    await expect(deploy(await leafFor("one"))).rejects.toThrow(/HTTP 422: .*field is immutable/)
    expect(stored()?.data["tls.key"]).toBe("")
  })

  describe("after a proof that failed", () => {
    const failing = async () => {
      const old = await leafFor("old")
      const server = Bun.serve({
        port: 0,
        hostname: "127.0.0.1",
        tls: { cert: old.certPem, key: old.keyPem },
        fetch: () => new Response(),
      })
      return {
        proof: {
          verify_host: "127.0.0.1",
          verify_port: server.port,
          post_deploy_verify_backoff: "5ms",
          post_deploy_verify_attempts: 1,
          kubelet_sync_timeout: 0.02,
        },
        stop: () => server.stop(true),
      }
    }

    test("a Secret has its former content, or is gone again", async () => {
      const { proof, stop } = await failing()
      try {
        await expect(deploy(await leafFor("one"), proof)).rejects.toThrow(/proof on the wire failed/)
        expect(stored()).toBeUndefined()
        const first = await leafFor("one")
        await deploy(first)
        const before = { ...stored()?.data, ...stored()?.metadata.annotations }
        await expect(deploy(await leafFor("two"), proof)).rejects.toThrow(/proof on the wire failed/)
        expect({ ...stored()?.data, ...stored()?.metadata.annotations }).toEqual(before)
      } finally {
        await stop()
      }
    })

    test("what cannot be removed is said", async () => {
      useKubeconfig(
        fake.kubeconfig(
          {
            "client-certificate-data": Buffer.from(fake.client.certPem).toString("base64"),
            "client-key-data": Buffer.from(fake.client.keyPem).toString("base64"),
          },
          { "certificate-authority-data": Buffer.from(fake.caPem).toString("base64") },
        ),
      )
      const { proof, stop } = await failing()
      try {
        await expect(deploy(await leafFor("one"), proof)).rejects.toThrow(
          /still holds the new certificate: .*removing Secret web\/site-tls: HTTP 403: .*cannot delete/,
        )
      } finally {
        await stop()
      }
    })

    test("a write whose answer was lost is taken back, one that never arrived is not", async () => {
      const first = await leafFor("one")
      await deploy(first)
      fake.state.failure = { at: "after", method: "PUT", status: 504 }
      await expect(deploy(await leafFor("two"))).rejects.toThrow(/HTTP 504: request did not complete/)
      expect(decoded("tls.key")).toBe(first.keyPem)
      fake.state.seen.length = 0
      fake.state.failure = { at: "before", method: "PUT", status: 500 }
      await expect(deploy(await leafFor("two"))).rejects.toThrow(/HTTP 500: etcdserver: leader changed/)
      expect(decoded("tls.key")).toBe(first.keyPem)
      expect(methods().filter((method) => method === "PUT")).toHaveLength(1)
    })
  })

  test("missing rights are told apart from a missing Secret", async () => {
    await expect(deploy(await leafFor("one"), { namespace: "locked" })).rejects.toThrow(/HTTP 403: .*cannot get/)
    fake.state.rights["token-user"] = { nowhere: ["get", "create"], web: ["get"] }
    await expect(deploy(await leafFor("one"), { namespace: "nowhere" })).rejects.toThrow(
      /namespaces "nowhere" not found/,
    )
    await expect(open().check?.()).rejects.toThrow("does not allow create of Secret web/site-tls (RBAC)")
  })

  test("the check asks and changes nothing", async () => {
    await open().check?.()
    expect(fake.state.secrets.size).toBe(0)
    await expect(open({ namespace: "locked" }).check?.()).rejects.toThrow("HTTP 403")
  })

  test("an answer that is none, and nobody who answers, fail without a piece of a key", async () => {
    fake.put({ namespace: "web", name: "site-tls" })
    fake.state.malformed = true
    await expect(deploy(await leafFor("one"))).rejects.toThrow("the answer is not one of a Kubernetes API server")
    useKubeconfig(fake.kubeconfig({ token: "t" }, { server: `https://127.0.0.1:${await freePort()}` }))
    await expect(deploy(await leafFor("one"))).rejects.toThrow(/GET https:\/\/127\.0\.0\.1:\d+\/api/)
  })

  test("two deployments at once leave the pair of one of them", async () => {
    const leaves = [await leafFor("one"), await leafFor("two")]
    await Promise.all(leaves.map((leaf) => deploy(leaf)))
    const [left] = leaves.filter(({ keyPem }) => keyPem === decoded("tls.key"))
    expect(decoded("tls.crt")).toBe(`${left?.certPem}${authority.certPem}`)
  })

  describe("signs in", () => {
    test("by token, token file and client certificate, as data and as files beside the kubeconfig", async () => {
      writeFileSync(at("token"), `${fake.token}\n`)
      writeFileSync(at("client.pem"), fake.client.certPem)
      writeFileSync(at("client.key"), fake.client.keyPem)
      writeFileSync(at("ca.pem"), fake.caPem)
      const users: [object, string][] = [
        [{ token: fake.token }, "token-user"],
        [{ tokenFile: "token" }, "token-user"],
        [{ "client-certificate": "client.pem", "client-key": at("client.key") }, "certificate-user"],
      ]
      for (const [user, expected] of users) {
        useKubeconfig(fake.kubeconfig(user, { "certificate-authority": "ca.pem" }))
        await deploy(await leafFor("one"))
        expect(fake.state.seen.at(-1)?.user).toBe(expected)
      }
    })

    test("never with a server whose certificate is not the cluster's, unless the kubeconfig says so", async () => {
      const other = Buffer.from(authority.certPem).toString("base64")
      useKubeconfig(fake.kubeconfig(undefined, { "certificate-authority-data": other }))
      await expect(deploy(await leafFor("one"))).rejects.toThrow(/certificate|verify/)
      useKubeconfig(fake.kubeconfig(undefined, {}))
      await expect(deploy(await leafFor("one"))).rejects.toThrow(/certificate|verify/)
      expect(fake.state.seen).toEqual([])
      useKubeconfig(fake.kubeconfig(undefined, { "insecure-skip-tls-verify": true }))
      await deploy(await leafFor("one"))
      expect(world.warnings.join()).toContain("insecure-skip-tls-verify")
    })

    test("with a wrong token fails in the server's words, without the token", async () => {
      useKubeconfig(
        fake.kubeconfig(
          { token: "hunter2-token" },
          { "certificate-authority-data": Buffer.from(fake.caPem).toString("base64") },
        ),
      )
      const failure = deploy(await leafFor("one"))
      await expect(failure).rejects.toThrow("HTTP 401: Unauthorized")
      await failure.catch((error) => expect(String(error)).not.toContain("hunter2"))
    })

    test("by a credential plugin that the agent may start", async () => {
      const credential = {
        kind: "ExecCredential",
        apiVersion: "client.authentication.k8s.io/v1",
        status: { token: fake.token },
      }
      writeFileSync(
        at("plugin"),
        `#!/bin/sh\ncase "$1$KUBERNETES_EXEC_INFO" in now*ExecCredential*) echo '${JSON.stringify(credential)}';; esac\n`,
        { mode: 0o755 },
      )
      const exec = { apiVersion: credential.apiVersion, command: "./plugin", args: ["now"], env: null }
      useKubeconfig(fake.kubeconfig({ exec }))
      await deploy(await leafFor("one"))
      const limited = { ...world.deps, checkCommand: commandChecker({ allowedPrograms: ["/bin/true"] }) }
      await expect(fromKubeconfig(at("kubeconfig"), limited)).rejects.toThrow("CERTCTL_AGENT_ALLOWED_COMMANDS")
      writeFileSync(at("plugin"), "#!/bin/sh\necho hunter2\n", { mode: 0o755 })
      await expect(fromKubeconfig(at("kubeconfig"), world.deps)).rejects.toThrow(/plugin.*no ExecCredential/)
    })

    test("as the service account of its pod, whose token is read every time", async () => {
      mkdirSync(at("account"))
      writeFileSync(at("account/token"), "first\n")
      writeFileSync(at("account/ca.crt"), fake.caPem)
      const env = { KUBERNETES_SERVICE_HOST: "10.0.0.1", KUBERNETES_SERVICE_PORT: "443" }
      expect(await inCluster(env, at("account"))).toEqual({
        host: "10.0.0.1",
        port: 443,
        basePath: "",
        token: "first",
        ca: fake.caPem,
      })
      writeFileSync(at("account/token"), "second\n")
      expect((await inCluster(env, at("account"))).token).toBe("second")
      await expect(inCluster({}, at("account"))).rejects.toThrow("kubeconfig_path is required")
    })

    test("not by a kubeconfig that makes no sense, which is not quoted", async () => {
      const cases: [string, RegExp][] = [
        ["{", /is no YAML|no usable/],
        ["token: hunter2", /no usable kubeconfig: see current-context/],
        [fake.kubeconfig({}), /neither token nor client certificate/],
        [fake.kubeconfig({ "client-certificate-data": "aHVudGVyMg==" }), /without its key/],
        [fake.kubeconfig(undefined, { server: "http://127.0.0.1" }), /https address/],
        [fake.kubeconfig().replace('"current-context":"here"', '"current-context":"there"'), /no context/],
        [fake.kubeconfig({ tokenFile: "/nowhere" }), /ENOENT/],
      ]
      for (const [text, words] of cases) {
        useKubeconfig(text)
        const failure = open().check?.() ?? Promise.resolve()
        await expect(failure).rejects.toThrow(words)
        await failure.catch((error) => expect(String(error)).not.toContain("hunter2"))
      }
      await expect(open({ kubeconfig_path: at("nowhere") }).check?.()).rejects.toThrow(/kubeconfig_path.*ENOENT/)
    })
  })

  test.skipIf(kubectl === null)("kubectl finds what was deployed", async () => {
    const leaf = await leafFor("one")
    await deploy(leaf)
    const child = Bun.spawn(
      [kubectl ?? "", "--kubeconfig", at("kubeconfig"), "get", "--raw", "/api/v1/namespaces/web/secrets/site-tls"],
      { stdout: "pipe", stderr: "pipe", env: { HOME: folder, PATH: process.env.PATH ?? "" } },
    )
    const found = JSON.parse(await new Response(child.stdout).text())
    expect(Buffer.from(found.data["tls.key"], "base64").toString()).toBe(leaf.keyPem)
  })
})

describe("its configuration", () => {
  const good = { namespace: "web", secret_name: "site-tls" }
  const hostile: [key: string, value: unknown][] = [
    ["namespace", "Web"],
    ["namespace", "../kube-system"],
    ["namespace", "a".repeat(64)],
    ["namespace", "web?x=1"],
    ["namespace", undefined],
    ["secret_name", "site/tls"],
    ["secret_name", "site%2ftls"],
    ["secret_name", "-site"],
    ["secret_name", "a".repeat(254)],
    ["secret_name", "site\r\ntls"],
    ["labels", { "bad key": "x" }],
    ["labels", { team: "two words" }],
    ["labels", { team: 7 }],
    ["labels", { team: "a".repeat(64) }],
    ["labels", "team=web"],
    ["kubeconfig_path", "kubeconfig"],
    ["kubeconfig_path", "/etc/../root/.kube/config"],
    ["kubelet_sync_timeout", "soon"],
  ]
  for (const [key, value] of hostile) {
    test(`refuses ${key} ${JSON.stringify(value)?.slice(0, 40)} by name`, () => {
      expect(() => kubernetesSecrets.open({ ...good, [key]: value }, testTargetDeps("/nonexistent"))).toThrow(
        new RegExp(`^${key}`),
      )
    })
  }
})
