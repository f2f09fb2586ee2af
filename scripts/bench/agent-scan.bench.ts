/**
 * How long a scan of a large tree takes, the first time and when nothing has changed, and what memory it needs: 100,000 files in
 * 1,000 folders, of which every tenth holds a certificate.
 *
 *   bun scripts/bench/agent-scan.bench.ts [files]
 */
import "reflect-metadata"
import { mkdirSync, mkdtempSync, rmSync, statSync, writeFileSync } from "node:fs"
import { cpus, loadavg, tmpdir } from "node:os"
import { join } from "node:path"
import { testAuthority, testLeaf } from "../../agent/agent-server.fake"
import { openScanCache } from "../../agent/scan.cache"
import { scanFolders } from "../../agent/scan.loop"

const files = Number(process.argv[2] ?? 100_000)
const perFolder = 100
const scratch = mkdtempSync(join(tmpdir(), "certctl-bench-scan-"))
const tree = join(scratch, "tree")

try {
  const authority = await testAuthority()
  const leaves = await Promise.all(Array.from({ length: 50 }, (_, i) => testLeaf(authority, [`site-${i}.example`])))
  for (let i = 0; i < files; i++) {
    const folder = join(tree, `d${Math.floor(i / perFolder / 30)}`, `d${Math.floor(i / perFolder)}`)
    if (i % perFolder === 0) mkdirSync(folder, { recursive: true })
    const leaf = leaves[i % leaves.length]?.certPem ?? ""
    writeFileSync(join(folder, `${i}.${i % 10 === 0 ? "pem" : "conf"}`), i % 10 === 0 ? leaf : `setting ${i}\n`)
  }
  console.log(`${files} files; ${cpus().length} processors (${cpus()[0]?.model}), load ${loadavg()[0]?.toFixed(1)}`)
  const cachePath = join(scratch, "cache.db")
  for (const title of ["first scan", "unchanged", "unchanged"]) {
    const began = performance.now()
    const used = process.cpuUsage()
    const cache = openScanCache(cachePath)
    let found = 0
    const onFindings = async ({ certificates }: { certificates: readonly unknown[] }) => {
      found += certificates.length
    }
    const signal = new AbortController().signal
    await scanFolders({ folders: [tree], cache, passwords: [], passwordStamp: "", onFindings }, signal)
    cache.close()
    const { user, system } = process.cpuUsage(used)
    console.log(
      `${title}: ${((performance.now() - began) / 1000).toFixed(2)} s, ${((user + system) / 1e6).toFixed(1)} s of processors, ${found} certificates, ${(process.memoryUsage.rss() / 2 ** 20).toFixed(0)} MiB, cache ${(statSync(cachePath).size / 2 ** 20).toFixed(0)} MiB`,
    )
  }
} finally {
  rmSync(scratch, { recursive: true })
}
