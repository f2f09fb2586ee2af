/** How many requests one process turns into certificates: verify the CSR's signature, build, sign. No database. */
import { cpus } from "node:os"
import { createRootAuthority, openAuthority } from "../../src/pki/authority"
import { buildCsr, parseCsr } from "../../src/pki/csr"
import { generateKey, type KeyType } from "../../src/pki/keys"

const seconds = Number(process.argv[2] ?? 2)
const pairs: readonly (readonly [KeyType, KeyType])[] = [
  ["ecdsa-p256", "ecdsa-p256"],
  ["ecdsa-p256", "rsa-2048"],
  ["ecdsa-p384", "ecdsa-p256"],
  ["ecdsa-p521", "ecdsa-p256"],
  ["ed25519", "ed25519"],
  ["rsa-2048", "ecdsa-p256"],
  ["rsa-4096", "ecdsa-p256"],
]
// RSA signatures are made on the thread pool, so several are asked for at a time, as a server would.
const parallel = 8

const measure = async (caType: KeyType, leafType: KeyType): Promise<number> => {
  const notBefore = new Date()
  const notAfter = new Date(notBefore.getTime() + 90 * 86_400_000)
  const root = await createRootAuthority({ keyType: caType, commonName: "Benchmark CA", notBefore, notAfter })
  const authority = openAuthority({ ...root, chainPem: root.certPem })
  const sans = ["www.example.com", "example.com"]
  const csrPem = buildCsr({ commonName: "www.example.com", sans, privateKey: await generateKey(leafType) })
  let issued = 0
  const worker = async (until: number): Promise<void> => {
    while (performance.now() < until) {
      const csr = parseCsr(csrPem)
      await authority.sign({
        spkiDer: csr.spkiDer,
        subjectCommonName: csr.commonName,
        sans: csr.sans,
        ekus: ["serverAuth"],
        notBefore,
        notAfter,
        crlUrls: ["http://pki.example.com/ca.crl"],
      })
      issued++
    }
  }
  const run = async (duration: number): Promise<number> => {
    issued = 0
    const start = performance.now()
    await Promise.all(Array.from({ length: parallel }, () => worker(start + duration)))
    return issued / ((performance.now() - start) / 1000)
  }
  // The first half second lets the engine compile the hot functions.
  await run(500)
  return run(seconds * 1000)
}

const machine = `${cpus().length} x ${cpus()[0]?.model ?? "unknown CPU"}, Bun ${Bun.version}`
console.log(`bun scripts/bench/issue.bench.ts ${seconds}   (${machine})\n`)
console.log("CA key      CSR key     certificates/s")
for (const [caType, leafType] of pairs) {
  const rate = await measure(caType, leafType)
  console.log(`${caType.padEnd(12)}${leafType.padEnd(12)}${Math.round(rate).toString().padStart(14)}`)
}
