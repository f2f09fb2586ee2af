/**
 * Every page in a real browser under the real content security policy: axe finds nothing, nothing is wider than the
 * screen, nothing is reported on the console, islands come alive. Needs Debian's `chromium`.
 */
import { afterAll, beforeAll, describe, expect, test } from "bun:test"
import { existsSync } from "node:fs"
import { mkdtemp, rm } from "node:fs/promises"
import { tmpdir } from "node:os"
import { join } from "node:path"
import type { AxeResults } from "axe-core"
import { type Browser, type BrowserContext, chromium, type Page } from "playwright-core"
import { renderDocument } from "../parts/document"
import { samplePages } from "./pages.samples"

const executablePath = "/usr/bin/chromium"
const isThere = existsSync(executablePath)
if (!isThere) {
  const missing = "pages in a browser: skipped, chromium is not installed (apt-get install chromium)"
  if (process.env.CERTCTL_REQUIRE_PEERS === "1") throw new Error(missing)
  console.warn(missing)
}

const policy =
  "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; font-src 'self'; connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"

let folder = ""
let server: ReturnType<typeof Bun.serve>
let browser: Browser
/** What the served page says in its h1 subtitle; tests change it to see a live update. */
let replaced: ((html: string) => string) | null = null
let events: ReadableStreamDefaultController<string> | null = null

const answer = (request: Request): Response => {
  const { pathname } = new URL(request.url)
  if (pathname.startsWith("/assets/")) return new Response(Bun.file(join(folder, pathname.slice("/assets/".length))))
  if (pathname === "/api/v1/events") {
    const stream = new ReadableStream<string>({
      start: (controller) => {
        events = controller
      },
    })
    return new Response(stream, { headers: { "content-type": "text/event-stream" } })
  }
  if (request.method === "POST") {
    const to = pathname === "/login" ? "/certificate-new" : "/login?next=/certificate-new"
    return new Response(null, { status: 303, headers: { location: to } })
  }
  const page = samplePages[pathname === "/login" ? "sign-in-expired" : pathname.slice(1)]
  if (page === undefined) return new Response("not found", { status: 404 })
  const html = renderDocument(page())
  return new Response(replaced === null ? html : replaced(html), {
    headers: { "content-type": "text/html; charset=utf-8", "content-security-policy": policy },
  })
}

describe.skipIf(!isThere)("in a browser", () => {
  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), "certctl-console-"))
    const root = join(import.meta.dir, "..")
    const built = await Bun.build({
      entrypoints: [join(root, "islands/loader.ts")],
      outdir: folder,
      splitting: true,
      target: "browser",
      naming: { entry: "loader.js" },
    })
    const styled = await Bun.build({
      entrypoints: [join(root, "assets/console.css")],
      outdir: folder,
      naming: "console.css",
    })
    expect([built.success, styled.success]).toEqual([true, true])
    server = Bun.serve({ port: 0, hostname: "127.0.0.1", idleTimeout: 0, fetch: answer })
    browser = await chromium.launch({ executablePath, args: ["--no-sandbox", "--disable-background-networking"] })
  }, 60_000)

  afterAll(async () => {
    await browser?.close()
    await server?.stop(true)
    await rm(folder, { recursive: true, force: true })
  })

  const opened = async (context: BrowserContext, name: string): Promise<{ page: Page; trouble: string[] }> => {
    const page = await context.newPage()
    const trouble: string[] = []
    page.on("console", (message) => {
      if (message.type() === "error" || message.type() === "warning") trouble.push(message.text())
    })
    page.on("pageerror", (error) => trouble.push(String(error)))
    await page.goto(`${server.url.origin}/${name}`)
    return { page, trouble }
  }

  // Colours are all that differs between the themes, and widths change no roles: three passes see everything.
  const passes = [
    { colorScheme: "light", width: 1280, rules: "undefined" },
    { colorScheme: "dark", width: 1280, rules: '{ runOnly: ["color-contrast"] }' },
    {
      colorScheme: "light",
      width: 360,
      rules: '{ runOnly: ["target-size", "scrollable-region-focusable", "link-name", "button-name"] }',
    },
  ] as const
  for (const { colorScheme, width, rules } of passes) {
    test(`every page is accessible and fits, ${colorScheme}, ${width} px`, async () => {
      const axe = await Bun.file(Bun.resolveSync("axe-core/axe.min.js", import.meta.dir)).text()
      const context = await browser.newContext({
        viewport: { width, height: 800 },
        colorScheme,
        reducedMotion: "reduce",
      })
      const { page, trouble } = await opened(context, "sign-in")
      const found: string[] = []
      for (const name of Object.keys(samplePages)) {
        await page.goto(`${server.url.origin}/${name}`)
        await page.evaluate(axe)
        const { violations }: AxeResults = await page.evaluate(`axe.run(document, ${rules})`)
        for (const { id, nodes } of violations) found.push(`${name}: ${id}: ${nodes[0]?.html}`)
        const overflow: number = await page.evaluate(
          "document.documentElement.scrollWidth - document.documentElement.clientWidth",
        )
        if (overflow > 0) found.push(`${name}: ${overflow} px wider than the screen`)
        found.push(...trouble.splice(0).map((text) => `${name}: ${text}`))
      }
      await context.close()
      expect(found).toEqual([])
    }, 300_000)
  }

  test("a live update replaces what changed and keeps what was ticked, typed and opened", async () => {
    const context = await browser.newContext({ viewport: { width: 1280, height: 800 } })
    const { page } = await opened(context, "certificates")
    await page.locator("tbody input[type=checkbox]").first().check()
    await page.getByText("1 certificate selected").waitFor()
    await page.locator("#filter-search").fill("half typed")
    replaced = (html) =>
      html.replaceAll(">Renewing<", ">Active<").replace("1,284 in the inventory", "1,285 in the inventory")
    await page.waitForFunction(
      () => performance.getEntriesByName(`${location.origin}/api/v1/events`).length > 0 || true,
    )
    while (events === null) await Bun.sleep(5)
    events.enqueue("data: {}\n\n")
    await page.getByText("1,285 in the inventory").waitFor()
    expect(await page.locator("tbody input[type=checkbox]").first().isChecked()).toBe(true)
    expect(await page.locator("#filter-search").inputValue()).toBe("half typed")
    expect(await page.locator("tbody").getByText("Renewing").count()).toBe(0)
    replaced = null
    await context.close()
  }, 30_000)

  test("a question opens in place, and its link leads to a page without script", async () => {
    const context = await browser.newContext()
    const { page } = await opened(context, "certificate")
    await page.getByRole("link", { name: "Revoke" }).click()
    const dialog = page.getByRole("dialog")
    await dialog.waitFor()
    // The browser itself refuses the form until the name is typed exactly.
    await dialog.locator("input[name=confirm]").fill("api-example.com")
    expect(await dialog.locator("input[name=confirm]:invalid").count()).toBe(1)
    await dialog.locator("input[name=confirm]").fill("api.example.com")
    expect(await dialog.locator("input[name=confirm]:invalid").count()).toBe(0)
    await page.keyboard.press("Escape")
    await dialog.waitFor({ state: "hidden" })
    await context.close()
  }, 30_000)

  test("what was typed is there again after the session ended under it, once", async () => {
    const context = await browser.newContext()
    const { page } = await opened(context, "certificate-new")
    await page.getByLabel("Common name").fill("www.example.com")
    await page.getByLabel("Name in certctl").fill("site")
    for (const name of ["Issuer", "Renewal policy", "Owner", "Team"]) {
      await page.getByLabel(name, { exact: true }).selectOption({ index: 1 })
    }
    await page.getByLabel("Issue and deploy now").uncheck()
    await page.getByRole("button", { name: "Create certificate" }).click()
    await page.getByText("Session expired").waitFor()
    await page.getByLabel("API key").fill("key")
    await page.getByRole("button", { name: "Sign in" }).click()
    await page.waitForURL("**/certificate-new")
    await page.waitForFunction(
      () => document.querySelector<HTMLInputElement>("#common_name")?.value === "www.example.com",
    )
    expect(await page.getByLabel("Issue and deploy now").isChecked()).toBe(false)
    expect(await page.evaluate(() => JSON.stringify({ ...sessionStorage }))).toBe("{}")
    await page.goto(`${server.url.origin}/certificate-new`)
    expect(await page.getByLabel("Common name").inputValue()).toBe("")
    await context.close()
  }, 30_000)

  test("the menu of a narrow screen opens and closes without script", async () => {
    const context = await browser.newContext({ viewport: { width: 360, height: 700 }, javaScriptEnabled: false })
    const { page } = await opened(context, "dashboard")
    const menu = page.getByRole("navigation", { name: "Main" })
    expect(await menu.isVisible()).toBe(false)
    await page.getByRole("link", { name: "Menu", exact: true }).click()
    await menu.getByRole("link", { name: "Agents" }).waitFor()
    await page.getByRole("link", { name: "Close menu" }).click()
    await menu.waitFor({ state: "hidden" })
    await context.close()
  }, 30_000)

  test("a forced theme wins over the system's", async () => {
    const context = await browser.newContext({ colorScheme: "light" })
    const { page } = await opened(context, "dashboard")
    const background = () => page.evaluate(() => getComputedStyle(document.body).backgroundColor)
    const light = await background()
    await page.getByRole("button", { name: "Dark theme" }).click()
    await page.waitForFunction((before) => getComputedStyle(document.body).backgroundColor !== before, light)
    await page.getByRole("button", { name: "System theme" }).click()
    await page.waitForFunction((before) => getComputedStyle(document.body).backgroundColor === before, light)
    await context.close()
  }, 30_000)
})
