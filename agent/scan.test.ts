import { afterEach, beforeEach, describe, expect, test } from "bun:test"
import { spawnSync } from "node:child_process"
import { mkdirSync, mkdtempSync, renameSync, rmSync, symlinkSync, utimesSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { AppError } from "../src/errors"
import { certsOnly } from "../src/pki/certs-only"
import { toPem } from "../src/pki/pem"
import { testAuthority, testLeaf } from "./agent-server.fake"
import { openScanCache } from "./scan.cache"
import { scanFolders, sendReport } from "./scan.loop"
import type { Findings } from "./scanned-file"

let folder: string
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "certctl-scan-"))
  mkdirSync(join(folder, "tree"))
})
afterEach(() => rmSync(folder, { recursive: true }))

const at = (name: string) => join(folder, "tree", name)
const authority = await testAuthority()
const leaf = await testLeaf(authority, ["site.example", "10.0.0.1"])

const scanned = async (folders: string[], passwords: string[] = [], passwordStamp = "") => {
  const all: Findings[] = []
  const cache = openScanCache(join(folder, "cache.db"))
  const onFindings = async (findings: Findings) => void all.push(findings)
  await scanFolders({ folders, cache, passwords, passwordStamp, onFindings }, new AbortController().signal)
  cache.close()
  const certificates = all.flatMap((findings) => findings.certificates)
  const named = certificates.map(({ source_path, source_format, common_name }) =>
    [source_path?.slice(folder.length + 6), source_format, common_name].join(" "),
  )
  const errors = all.flatMap(({ error }) => error?.slice(folder.length + 6) ?? []).sort()
  return { certificates, named: named.sort(), errors }
}

test("finds certificates wherever they may stand, and never a key", async () => {
  mkdirSync(at("deep/er"), { recursive: true })
  writeFileSync(at("deep/er/haproxy.pem"), leaf.certPem + authority.certPem + leaf.keyPem)
  writeFileSync(at("a.der"), leaf.der)
  writeFileSync(at("b.cer"), leaf.der)
  writeFileSync(at("c.conf"), `# ${leaf.certPem}`)
  writeFileSync(at("d.conf"), "-----BEGIN nothing")
  writeFileSync(at("e.key"), leaf.certPem)
  writeFileSync(at("extensionless"), leaf.certPem)
  writeFileSync(at("large.pem"), leaf.certPem.padEnd(1024 * 1024 + 1))
  writeFileSync(at("broken.crt"), "-----BEGIN CERTIFICATE-----\n!!!\n-----END CERTIFICATE-----\n")
  writeFileSync(at("f.p7b"), certsOnly([leaf.der]))
  writeFileSync(at("g.p7c"), toPem("PKCS7", certsOnly([leaf.der])))
  writeFileSync(at("store.p12"), "no password, no look")
  symlinkSync(at("a.der"), at("link.der"))
  symlinkSync(folder, at("deep/loop"))

  const { certificates, named, errors } = await scanned([join(folder, "tree"), at("missing")])
  expect(named).toEqual([
    "a.der DER site.example",
    "b.cer DER site.example",
    "c.conf PEM site.example",
    "deep/er/haproxy.pem PEM Fake CA",
    "deep/er/haproxy.pem PEM site.example",
    "f.p7b DER site.example",
    "g.p7c PEM site.example",
  ])
  expect(JSON.stringify(certificates)).not.toContain("PRIVATE KEY")
  expect(certificates.find(({ source_path }) => source_path === at("a.der"))).toMatchObject({
    fingerprint_sha256: leaf.fingerprint,
    sans: ["site.example", "10.0.0.1"],
    key_algorithm: "ECDSA",
    key_size: 256,
    is_ca: false,
  })
  expect(errors.map((line) => line.split(":")[0])).toEqual(["broken.crt", "missing"])
})

describe("a second scan", () => {
  test("reports what is unchanged without reading it, and forgets what is gone", async () => {
    mkdirSync(at("sub"))
    writeFileSync(at("a.pem"), leaf.certPem)
    writeFileSync(at("sub/b.pem"), leaf.certPem)
    writeFileSync(at("broken.crt"), "-----BEGIN CERTIFICATE-----\n")
    const first = await scanned([join(folder, "tree")])
    // Bytes of the same length behind the same stamp: only reading could tell.
    const cache = openScanCache(join(folder, "cache.db"))
    cache.begin()
    const { id, files } = cache.folder(join(folder, "tree"))
    const known = files.get("a.pem")
    cache.put(id, "a.pem", { stamp: known?.stamp ?? "", findings: known?.findings?.replace("site", "told") ?? null })
    cache.end()
    cache.close()
    const second = await scanned([join(folder, "tree")])
    expect(second.named).toEqual(["a.pem PEM told.example", "sub/b.pem PEM site.example"])
    expect(second.errors).toEqual(first.errors)

    utimesSync(at("a.pem"), new Date(0), new Date(0))
    rmSync(at("sub"), { recursive: true })
    renameSync(at("broken.crt"), at("broken.txt"))
    const third = await scanned([join(folder, "tree")])
    expect(third).toMatchObject({ named: ["a.pem PEM site.example"], errors: [] })
  })

  test("begins anew where the cache is damaged", async () => {
    writeFileSync(at("a.pem"), leaf.certPem)
    writeFileSync(join(folder, "cache.db"), "no database at all, but long enough to be looked at ".repeat(40))
    expect((await scanned([join(folder, "tree")])).named).toEqual(["a.pem PEM site.example"])
  })
})

test("key stores are looked into with the configured passwords, again when those change", async () => {
  writeFileSync(join(folder, "c.pem"), leaf.certPem)
  writeFileSync(join(folder, "k.pem"), leaf.keyPem)
  const args = [
    "pkcs12",
    "-export",
    "-in",
    "c.pem",
    "-inkey",
    "k.pem",
    "-out",
    at("s.p12"),
    "-passout",
    "pass:opensesame",
  ]
  expect(spawnSync("openssl", args, { cwd: folder }).status).toBe(0)
  const tree = [join(folder, "tree")]
  expect(await scanned(tree)).toMatchObject({ named: [], errors: [] })
  const refused = await scanned(tree, ["wrong"], "1")
  expect(refused.errors).toEqual(["s.p12: key store: none of the passwords opens it"])
  expect(JSON.stringify(refused)).not.toContain("wrong")
  expect((await scanned(tree, ["wrong", "opensesame"], "2")).named).toEqual(["s.p12 DER site.example"])
})

test("a report that is too large goes in halves", async () => {
  const sent: number[] = []
  const certificates = Array.from({ length: 10 }, (_, i) => ({ source_path: String(i) }))
  await sendReport(
    async (report) => {
      if (report.certificates.length > 3) throw new AppError("too_large", "too large")
      sent.push(report.certificates.length, report.errors?.length ?? 0)
    },
    { directories: [], certificates, errors: ["one"], scan_duration_ms: 1 },
  )
  expect(sent).toEqual([3, 1, 2, 0, 3, 0, 2, 0])
})
