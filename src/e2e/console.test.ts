/** The console in a browser, on the compiled executable: what a newcomer does on the first day, with script and without. */
import { describe, expect, setDefaultTimeout, test } from "bun:test"
import type { AxeResults } from "axe-core"
import { type Browser, type BrowserContextOptions, chromium, type Page } from "playwright-core"
import { joinedAgent } from "../testing/agent-process"
import { jobsOf } from "../testing/inventory"
import { startNginx } from "../testing/nginx-peer"
import { peer } from "../testing/peers"
import { type ServerProcess, serverProcess } from "../testing/server-process"
import { openStage, type Stage } from "../testing/stage"
import { until } from "../testing/until"

// Real processes and a real browser: slow machines are slow, not wrong.
setDefaultTimeout(300_000)

const chromiumPath = peer("chromium", "chromium")
const nginxProgram = peer("nginx", "nginx-light")
const waitMs = 60_000

interface Visitor {
  readonly page: Page
  /** What the browser reported as an error: blocked by the content security policy, thrown by a script, not found. */
  readonly trouble: string[]
}

interface Scene {
  readonly stage: Stage
  readonly server: ServerProcess
  visitor(options?: BrowserContextOptions): Promise<Visitor>
}

const onStage = async (play: (scene: Scene) => Promise<void>): Promise<void> => {
  const stage = openStage()
  let browser: Browser | undefined
  try {
    const server = await serverProcess(stage)
    await server.start()
    const launched = await chromium.launch({
      executablePath: chromiumPath ?? "",
      args: ["--no-sandbox", "--disable-background-networking"],
    })
    browser = launched
    const visitor = async (options: BrowserContextOptions = {}): Promise<Visitor> => {
      const context = await launched.newContext({
        viewport: { width: 1280, height: 800 },
        baseURL: server.url,
        ignoreHTTPSErrors: true,
        ...options,
      })
      const page = await context.newPage()
      page.setDefaultTimeout(waitMs)
      const trouble: string[] = []
      page.on("console", (message) => message.type() === "error" && trouble.push(message.text()))
      page.on("pageerror", (error) => trouble.push(String(error)))
      return { page, trouble }
    }
    await play({ stage, server, visitor })
  } finally {
    await browser?.close()
    await stage.end()
  }
}

const signIn = async (page: Page, key: string): Promise<void> => {
  await page.getByLabel("API key").fill(key)
  await page.getByRole("button", { name: "Sign in" }).click()
}

const headline = (page: Page) => page.locator(".headline-sentence")

/** Fails unless the headline comes to say it without the page being loaded again by us. */
const says = (page: Page, words: string): Promise<void> =>
  headline(page).filter({ hasText: words }).waitFor({ timeout: waitMs })

/** An agent on this host with one target of a real NGINX. */
const servedHost = async ({ stage, server }: Scene) => {
  const nginx = await startNginx(stage, nginxProgram ?? "", { serverName: "shop.example" })
  const agent = await joinedAgent(stage, server)
  agent.start()
  const target = await server.post("/api/v1/targets", {
    name: "shop nginx",
    type: "NGINX",
    agent_id: agent.id,
    config: nginx.targetConfig(),
  })
  return { nginx, agent, targetId: String(target.id) }
}

const accessible = async (page: Page, path: string, rules: string): Promise<string[]> => {
  await page.goto(path)
  await page.evaluate(await Bun.file(Bun.resolveSync("axe-core/axe.min.js", import.meta.dir)).text())
  const { violations }: AxeResults = await page.evaluate(`axe.run(document, ${rules})`)
  return violations.map(({ id, nodes }) => `${path}: ${id}: ${nodes[0]?.html}`)
}

describe.skipIf(chromiumPath === null || nginxProgram === null)("the console", () => {
  test("takes a newcomer from the first key to a certificate that is seen served, and shows it as it happens", async () => {
    await onStage(async (scene) => {
      const { server } = scene
      const { page, trouble } = await scene.visitor({ permissions: ["clipboard-read", "clipboard-write"] })

      await page.goto("/certificates?status=Active")
      await signIn(page, "not the key")
      await page.getByText("Invalid API key").waitFor()
      expect(trouble.splice(0).filter((line) => !line.includes("403"))).toEqual([])
      await signIn(page, server.adminKey)
      await page.waitForURL("**/certificates?status=Active")

      await page.goto("/")
      await page.getByRole("link", { name: "Connect an agent" }).click()
      await page.getByRole("button", { name: "Make a join token" }).click()
      expect(await page.locator(".command pre").first().textContent()).toContain("certctl agent join --server https://")
      await page.getByRole("link", { name: "Done" }).click()

      const { nginx, targetId } = await servedHost(scene)
      await page.getByText("Online").waitFor()

      await page.getByRole("link", { name: "Certificates", exact: true }).first().click()
      await page.getByRole("link", { name: "New certificate" }).first().click()
      await page.getByLabel("Common name").fill("shop.example")
      await page.getByLabel("Further names").fill("not a name!")
      await page.getByLabel("Name in certctl").fill("shop")
      await page.getByLabel("New owner").fill("Ada Lovelace")
      await page.getByLabel("mail address").fill("ada@example.com")
      await page.getByLabel("New team").fill("Platform")
      await page.getByLabel("shop nginx").check()
      await page.getByRole("button", { name: "Create certificate" }).click()

      // What was typed is still there, and whoever was made on the way can be chosen.
      await page.locator("#sans-error").waitFor()
      expect(trouble.splice(0).filter((line) => !line.includes("400"))).toEqual([])
      expect(await page.getByLabel("Common name").inputValue()).toBe("shop.example")
      expect(await page.getByLabel("Owner", { exact: true }).locator("option:checked").textContent()).toBe(
        "Ada Lovelace",
      )
      expect(await page.getByLabel("shop nginx").isChecked()).toBe(true)
      await page.getByLabel("Further names").fill("www.shop.example")
      await page.getByRole("button", { name: "Create certificate" }).click()

      await page.waitForURL("**/certificates/mc-*")
      let loads = 0
      page.on("load", () => {
        loads += 1
      })
      await says(page, "Served and verified on 1 of 1 target")
      const first = await nginx.served()

      await page.getByRole("button", { name: "Renew", exact: true }).click()
      await page.getByText("Renewal started.").waitFor()
      const before = loads
      await until("NGINX serves the renewed certificate", async () => (await nginx.served()) !== first)
      await page.locator(".panel", { hasText: "Versions" }).getByText("replaced").waitFor()
      await says(page, "Served and verified on 1 of 1 target")
      expect(loads).toBe(before)
      expect(await page.locator(".seal-confirmed").count()).toBe(2)

      // The job's own page, from the list of the certificate's jobs.
      await page.getByRole("link", { name: "Deployment" }).first().click()
      await page.getByText("Verified", { exact: true }).first().waitFor()
      expect(trouble).toEqual([])

      const id = (await server.get("/api/v1/certificates")).data[0].id
      const jobId = (await jobsOf(server, id))[0].id
      const agentId = (await server.get("/api/v1/agents")).data[0].id
      const issuerId = (await server.get("/api/v1/issuers")).data[0].id
      const paths = [
        "/",
        "/certificates",
        "/certificates?status=Revoked",
        "/certificates/new",
        `/certificates/${id}`,
        `/certificates/${id}/archive`,
        "/agents",
        "/agents?tab=retired",
        "/agents/join",
        `/agents/${agentId}`,
        `/agents/${agentId}/retire`,
        "/jobs",
        `/jobs/${jobId}`,
        "/audit",
        "/notifications",
        "/policies/new?type=AllowedDomains",
        "/keys/new",
        `/issuers/${issuerId}`,
        `/targets/${targetId}`,
        `/targets/${targetId}/edit`,
        "/nowhere",
      ]
      // Forms and lists alike in kind: one of each is looked at closely below.
      for (const name of [
        "policies",
        "renewal-policies",
        "profiles",
        "agent-groups",
        "teams",
        "owners",
        "issuers",
        "targets",
      ]) {
        for (const path of [`/${name}`, `/${name}/new`])
          expect(`${path} ${(await page.goto(path))?.status()}`).toBe(`${path} 200`)
      }
      const found: string[] = []
      // Colours are all that differs between the themes.
      for (const [colorScheme, rules] of [
        ["light", "undefined"],
        ["dark", '{ runOnly: ["color-contrast"] }'],
      ] as const) {
        await page.emulateMedia({ colorScheme, reducedMotion: "reduce" })
        for (const path of paths) found.push(...(await accessible(page, path, rules)))
      }
      expect(found).toEqual([])
      expect(trouble.filter((line) => !line.includes("404"))).toEqual([])

      const exported = await page.request.get("/audit/export.csv?action=renewal_triggered")
      expect(exported.headers()["content-disposition"]).toMatch(
        /attachment; filename="audit-trail-\d{4}-\d\d-\d\d\.csv"/,
      )
      const [head, ...events] = (await exported.text()).trim().split("\r\n")
      expect(head).toBe('"ID","Action","Actor","Actor Type","Resource Type","Resource ID","Details","Timestamp"')
      expect(events).toHaveLength(2)
      const asJson = await page.request.get("/audit/export.json?action=renewal_triggered")
      expect((await asJson.json()).map((event: { resource_id: string }) => event.resource_id)).toEqual([id, id])
      const pem = await page.request.get(`/certificates/${id}/export.pem`)
      expect(await pem.text()).toStartWith("-----BEGIN CERTIFICATE-----")

      await page.goto("/")
      await page.getByRole("button", { name: "Dark theme" }).click()
      await page.getByRole("button", { name: "Sign out" }).click()
      await page.getByRole("heading", { name: "Sign in to certctl" }).waitFor()
      expect(await page.locator("html").getAttribute("data-theme")).toBe("dark")
      await page.goto("/agents")
      await page.waitForURL("**/login?next=%2Fagents")
    })
  })

  test("does the same without script", async () => {
    await onStage(async (scene) => {
      const { server } = scene
      await servedHost(scene)
      const { page } = await scene.visitor({ javaScriptEnabled: false })
      await page.goto("/certificates/new")
      await signIn(page, server.adminKey)
      await page.getByLabel("Common name").fill("shop.example")
      await page.getByLabel("Name in certctl").fill("shop")
      await page.getByLabel("New owner").fill("Ada Lovelace")
      await page.getByLabel("New team").fill("Platform")
      await page.getByLabel("shop nginx").check()
      await page.getByRole("button", { name: "Create certificate" }).click()
      await page.waitForURL("**/certificates/mc-*")
      const isServed = async () => {
        await page.reload()
        return ((await headline(page).textContent()) ?? "").startsWith("Served and verified on 1 of 1 target")
      }
      await until("the page says that it is served", isServed, waitMs)

      await page.getByRole("link", { name: "Certificates", exact: true }).first().click()
      await page.getByRole("checkbox", { name: "Select shop.example" }).check()
      await page.getByRole("button", { name: "Renew", exact: true }).click()
      await page.getByText("Renewals started.").waitFor()
      await page.getByRole("link", { name: "shop.example" }).click()
      const versions = page.locator(".panel", { hasText: "Versions" })
      await until(
        "the renewed certificate is served",
        async () => (await isServed()) && (await versions.getByText("replaced").count()) === 1,
        waitMs,
      )

      await page.getByRole("link", { name: "Archive" }).click()
      await page.getByRole("heading", { name: "Archive shop.example?" }).waitFor()
      await page.getByRole("button", { name: "Archive certificate" }).click()
      await page.getByText("Certificate archived.").waitFor()

      await page.getByRole("link", { name: "Agents" }).first().click()
      await page.getByRole("link", { name: "agent", exact: true }).click()
      await page.getByRole("link", { name: "Retire" }).click()
      await page.getByLabel("Reason").fill("the host is gone")
      await page.getByRole("button", { name: "Force retire" }).click()
      await page.getByText("Agent retired.").waitFor()
      await page.getByRole("button", { name: "Dark theme" }).click()
      await page.getByRole("button", { name: "Sign out" }).click()
      expect(await page.locator("html").getAttribute("data-theme")).toBe("dark")
    })
  })

  test("shows a viewer no action, and refuses the ones that are asked for regardless", async () => {
    await onStage(async (scene) => {
      const { server } = scene
      const { key } = await server.post("/api/v1/api-keys", { name: "eyes", role: "viewer" })
      const { page } = await scene.visitor()
      await page.goto("/certificates")
      await signIn(page, key)
      await page.getByRole("heading", { name: "Certificates", exact: true }).waitFor()
      expect(await page.getByRole("link", { name: "New certificate" }).count()).toBe(0)
      for (const path of ["/certificates/new", "/agents/join"]) {
        const answer = await page.goto(path)
        expect(answer?.status()).toBe(403)
        await page.getByRole("heading", { name: "Not allowed" }).waitFor()
      }
      const post = (path: string) =>
        page.request.post(path, { headers: { origin: server.url }, form: { name: "x" }, maxRedirects: 0 })
      for (const path of [
        "/certificates",
        "/certificates/bulk-renew",
        "/certificates/x/renew",
        "/certificates/x/deploy",
        "/certificates/x/archive",
        "/agents/join",
        "/agents/x/retire",
        "/jobs/x/cancel",
        "/jobs/x/approve",
        "/jobs/x/reject",
        "/notifications/x/requeue",
        "/policies/new",
        "/teams/new",
        "/targets/new",
        "/issuers/new",
        "/keys/new",
      ]) {
        expect(`${path} ${(await post(path)).status()}`).toBe(`${path} 403`)
      }
      const foreign = await page.request.post("/preferences/theme", {
        headers: { origin: "https://evil.example" },
        form: { theme: "dark" },
        maxRedirects: 0,
      })
      expect(foreign.status()).toBe(403)
    })
  })
})
