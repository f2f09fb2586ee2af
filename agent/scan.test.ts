import { afterEach, beforeEach, expect, test } from "bun:test"
import { mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { testAuthority, testLeaf } from "./agent-server.fake"
import { scanFolders } from "./scan.loop"

let folder: string
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "certctl-scan-"))
})
afterEach(() => rmSync(folder, { recursive: true }))

test("finds certificates wherever they may stand, and never a key", async () => {
  const authority = await testAuthority()
  const leaf = await testLeaf(authority, ["site.example", "10.0.0.1"])
  const at = (name: string) => join(folder, name)
  mkdirSync(at("deep/er"), { recursive: true })
  writeFileSync(at("deep/er/bundle.pem"), leaf.certPem + authority.certPem + leaf.keyPem)
  writeFileSync(at("a.der"), leaf.der)
  writeFileSync(at("b.cer"), leaf.der)
  writeFileSync(at("c.conf"), `# ${leaf.certPem}`)
  writeFileSync(at("d.conf"), "-----BEGIN nothing")
  writeFileSync(at("e.key"), leaf.certPem)
  writeFileSync(at("extensionless"), leaf.certPem)
  writeFileSync(at("large.pem"), leaf.certPem.padEnd(1024 * 1024 + 1))
  writeFileSync(at("broken.crt"), "-----BEGIN CERTIFICATE-----\n!!!\n-----END CERTIFICATE-----\n")
  symlinkSync(at("a.der"), at("link.der"))
  symlinkSync(folder, at("deep/loop"))

  const { certificates, errors, directories } = await scanFolders([folder, at("missing")])
  const found = (certificates ?? []).map(({ source_path, source_format, common_name }) => [
    source_path?.slice(folder.length + 1),
    source_format,
    common_name,
  ])
  expect(found.sort()).toEqual([
    ["a.der", "DER", "site.example"],
    ["b.cer", "DER", "site.example"],
    ["c.conf", "PEM", "site.example"],
    ["deep/er/bundle.pem", "PEM", "Fake CA"],
    ["deep/er/bundle.pem", "PEM", "site.example"],
  ])
  expect(JSON.stringify(certificates)).not.toContain("PRIVATE KEY")
  expect(certificates?.find(({ source_path }) => source_path === at("a.der"))).toMatchObject({
    fingerprint_sha256: leaf.fingerprint,
    sans: ["site.example", "10.0.0.1"],
    key_algorithm: "ECDSA",
    key_size: 256,
    is_ca: false,
  })
  expect(directories).toEqual([folder, at("missing")])
  expect(errors?.map((line) => line.slice(folder.length + 1).split(":")[0]).sort()).toEqual(["broken.crt", "missing"])
})
