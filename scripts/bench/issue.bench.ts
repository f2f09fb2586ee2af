/**
 * How many requests one process turns into certificates: read the CSR, verify its signature, build, sign; and how many of those that
 * are read and verified already. No database. Beside it what the signature of the CSR and that of the certificate take alone, with keys
 * that are loaded already: the rest is ours. Shares are of CPU time, which other work on the machine changes less than rates.
 *
 *   bun scripts/bench/issue.bench.ts [seconds]
 */
import { createPublicKey, type KeyObject, randomBytes, sign, verify } from "node:crypto"
import { createRootAuthority, openAuthority } from "../../src/pki/authority"
import { buildCsr, type Csr, parseCsr } from "../../src/pki/csr"
import { generateKey, type KeyType } from "../../src/pki/keys"
import { machineLine } from "./fleet"

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
/** More than are kept once they were read. */
const requests = 500
/** Rounds in which everything is measured in turn; the best of each counts, as what disturbs only makes it longer. */
const rounds = 5

interface Cost {
  /** Microseconds of CPU. */
  readonly cpu: number
  readonly perSecond: number
}

/** The cost of one call, of several that run at a time. */
const costOf = async (work: () => unknown, ms: number): Promise<Cost> => {
  const start = performance.now()
  const before = process.cpuUsage()
  let done = 0
  const worker = async (): Promise<void> => {
    while (performance.now() < start + ms) {
      await work()
      done++
    }
  }
  await Promise.all(Array.from({ length: parallel }, worker))
  const { user, system } = process.cpuUsage(before)
  return { cpu: (user + system) / done, perSecond: done / ((performance.now() - start) / 1000) }
}

const best = (costs: readonly Cost[]): Cost => ({
  cpu: Math.min(...costs.map(({ cpu }) => cpu)),
  perSecond: Math.max(...costs.map(({ perSecond }) => perSecond)),
})

const hashOf = (type: KeyType): string | null =>
  type === "ed25519" ? null : type === "ecdsa-p384" ? "sha384" : type === "ecdsa-p521" ? "sha512" : "sha256"

/** As long as what is signed for real. */
const signedBytes = randomBytes(500)

const verifying = (type: KeyType, key: KeyObject) => {
  const signature = sign(hashOf(type), signedBytes, key)
  const publicKey = createPublicKey(key)
  return () => verify(hashOf(type), signedBytes, publicKey, signature)
}

const signing = (type: KeyType, key: KeyObject) => () => {
  if (!type.startsWith("rsa")) return sign(hashOf(type), signedBytes, key)
  return new Promise((resolve, reject) => {
    sign(hashOf(type), signedBytes, key, (error, signature) => (error ? reject(error) : resolve(signature)))
  })
}

const measure = async (caType: KeyType, leafType: KeyType) => {
  const notBefore = new Date()
  const notAfter = new Date(notBefore.getTime() + 90 * 86_400_000)
  const root = await createRootAuthority({ keyType: caType, commonName: "Benchmark CA", notBefore, notAfter })
  const authority = openAuthority({ ...root, chainPem: root.certPem })
  const privateKey = await generateKey(leafType)
  const csrs = Array.from({ length: requests }, (_, at) =>
    buildCsr({ commonName: `www${at}.example.com`, sans: [`www${at}.example.com`, "example.com"], privateKey }),
  )
  let next = 0
  const certify = (csr: Csr) =>
    authority.sign({
      spkiDer: csr.spkiDer,
      subjectCommonName: csr.commonName,
      sans: csr.sans,
      ekus: ["serverAuth"],
      notBefore,
      notAfter,
      crlUrls: ["http://pki.example.com/ca.crl"],
    })
  const issue = () => certify(parseCsr(csrs[next++ % requests] ?? ""))
  const read = csrs.map(parseCsr)
  const certifyNext = () => certify(read[next++ % requests] ?? parseCsr(""))
  const works = [issue, certifyNext, verifying(leafType, privateKey), signing(caType, root.privateKey)] as const
  const costs = works.map((): Cost[] => [])
  // The first half second lets the engine compile the hot functions.
  await costOf(issue, 500)
  for (let round = 0; round < rounds; round++) {
    for (const [at, work] of works.entries()) costs[at]?.push(await costOf(work, (seconds * 1000) / rounds))
  }
  const [issued, certified, verified, signed] = costs.map(best)
  return { issued, certified, verified, signed }
}

console.log(`bun scripts/bench/issue.bench.ts ${seconds}   (${machineLine()})\n`)
console.log("CA key      CSR key     certificates/s   of verified/s   CPU each   verify + sign alone   share")
for (const [caType, leafType] of pairs) {
  const { issued, certified, verified, signed } = await measure(caType, leafType)
  if (issued === undefined || certified === undefined || verified === undefined || signed === undefined) continue
  const alone = verified.cpu + signed.cpu
  console.log(
    [
      caType.padEnd(12),
      leafType.padEnd(12),
      Math.round(issued.perSecond).toString().padStart(14),
      Math.round(certified.perSecond).toString().padStart(16),
      `${issued.cpu.toFixed(0)} us`.padStart(11),
      `${verified.cpu.toFixed(0)} + ${signed.cpu.toFixed(0)} us`.padStart(22),
      `${((alone / issued.cpu) * 100).toFixed(0)} %`.padStart(8),
    ].join(""),
  )
}
