/** What the Windows targets refuse before anything is started. */
import { describe, expect, test } from "bun:test"
import { mkdtempSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { testTargetDeps } from "../../testing/deploying"
import { programStarter } from "../program"
import type { TargetDefinition } from "./contract"
import { iis } from "./iis"
import { winCertStore } from "./win-cert-store"

describe("mode local", () => {
  test("without PowerShell says so", async () => {
    const folder = mkdtempSync(join(tmpdir(), "certctl-windows-"))
    const deps = testTargetDeps(folder, { start: programStarter({ path: folder }) })
    await expect(winCertStore.open({ mode: "local" }, deps).check?.()).rejects.toThrow(
      "mode local needs powershell.exe, which was not found on this host",
    )
    rmSync(folder, { recursive: true })
  })

  test("stops a PowerShell that does not end", async () => {
    const folder = mkdtempSync(join(tmpdir(), "certctl-windows-"))
    writeFileSync(join(folder, "powershell.exe"), "#!/bin/sh\nexec sleep 600\n", { mode: 0o755 })
    const deps = testTargetDeps(folder, { start: programStarter({ path: `${folder}:/bin:/usr/bin` }) })
    await expect(winCertStore.open({ mode: "local", exec_deadline: "1s" }, deps).check?.()).rejects.toThrow(
      "PowerShell did not end within 1 s and was stopped",
    )
    rmSync(folder, { recursive: true })
  })
})

describe("a Windows target's configuration", () => {
  const deps = testTargetDeps("/nonexistent")
  const site = { site_name: "s", cert_store: "My" }
  const reach = { winrm_host: "h", winrm_username: "u", winrm_password: "p" }
  const injections = [
    "a'b",
    'a"b',
    "a;b",
    "$(calc)",
    "a`b",
    "a\nb",
    "a\r\nb",
    "a|b",
    "a&b",
    "a\0b",
    "..",
    "a\\b",
    "a/b",
    "*",
    "a?",
    "[a]",
    "",
    " ",
    "x".repeat(257),
    "Ünï",
  ]
  const hostile: [connector: TargetDefinition, config: Record<string, unknown>, words: string][] = [
    ...injections.flatMap((name): [TargetDefinition, Record<string, unknown>, string][] => [
      [iis, { ...site, site_name: name }, "site_name must"],
      [iis, { ...site, cert_store: name }, "cert_store must"],
      [winCertStore, { store_name: name }, "store_name must"],
      [winCertStore, { friendly_name: name }, "friendly_name must"],
    ]),
    ...["a'b", 'a"b', "a;b", "$(calc)", "a`b", "a\nb", "a b", "a/b", "x".repeat(513)].map(
      (info): [TargetDefinition, Record<string, unknown>, string] => [
        iis,
        { ...site, binding_info: info },
        "binding_info must",
      ],
    ),
    ...["h/path", "u@h", "u:p@h", "h\r\nX: y", "h h", "h?x", "h#x", "h:80", "-h", "", "[::1", "x".repeat(254)].flatMap(
      (host): [TargetDefinition, Record<string, unknown>, string][] => [
        [iis, { ...site, mode: "winrm", winrm: { ...reach, winrm_host: host } }, "winrm.winrm_host must"],
        [winCertStore, { mode: "winrm", ...reach, winrm_host: host }, "winrm_host must"],
      ],
    ),
    [iis, {}, "site_name is required; cert_store is required"],
    [iis, { ...site, mode: "winrm" }, "winrm must be given in mode winrm"],
    [iis, { ...site, mode: "ssh" }, "mode must be"],
    [iis, { ...site, sni: true }, "binding_info must be given with sni"],
    [iis, { ...site, sni: "yes" }, "sni must be boolean"],
    [iis, { ...site, port: 0 }, "port must be a port"],
    [iis, { ...site, port: "443" }, "port must be number"],
    [iis, { ...site, ip_address: "1.2.3.256" }, "ip_address must be * or an IPv4 address"],
    [iis, { ...site, ip_address: "::1" }, "ip_address must be * or an IPv4 address"],
    [iis, { ...site, exec_deadline: 0 }, "exec_deadline must be at least"],
    [iis, { ...site, exec_deadline: "1d" }, "exec_deadline must be"],
    [iis, { ...site, winrm: { ...reach, winrm_port: 70_000 } }, "winrm.winrm_port must be a port"],
    [iis, { ...site, winrm: { ...reach, winrm_password: "" } }, "winrm.winrm_password must not be empty"],
    [iis, { ...site, winrm: { ...reach, winrm_username: "a\r\nb" } }, "winrm.winrm_username must not contain control"],
    [iis, { ...site, winrm: { ...reach, winrm_timeout: 0 } }, "winrm.winrm_timeout must be at least"],
    [iis, { ...site, winrm: "h" }, "winrm must be"],
    [winCertStore, { mode: "winrm" }, "winrm_host must be given in mode winrm"],
    [
      winCertStore,
      { mode: "winrm", winrm_host: "h", winrm_username: "u" },
      "winrm_password must be given in mode winrm",
    ],
    [winCertStore, { mode: "winrm", ...reach, winrm_password: "a\nb" }, "winrm_password must be 1 to 512 characters"],
    [winCertStore, { store_location: "Machine" }, "store_location must be"],
    [winCertStore, { remove_expired: "no" }, "remove_expired must be boolean"],
    [winCertStore, { pfx_legacy: 1 }, "pfx_legacy must be boolean"],
  ]
  for (const [connector, bad, words] of hostile) {
    test(`of ${connector.type} is refused: ${JSON.stringify(bad).slice(0, 90)}`, () => {
      expect(() => connector.open(bad, deps)).toThrow(words)
    })
  }

  test("may name its host in every usual way", () => {
    for (const winrm_host of ["web01", "web01.corp.example", "10.0.0.8", "::1", "[fe80::1]"]) {
      expect(winCertStore.open({ mode: "winrm", ...reach, winrm_host }, deps).plan).toBeFunction()
    }
  })
})
