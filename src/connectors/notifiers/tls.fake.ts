/** A CA of its own and a certificate for localhost, so that fakes speak TLS that is really verified. */
import { createPublicKey } from "node:crypto"
import { createRootAuthority, openAuthority } from "../../pki/authority"
import { generateKey, privateKeyPem } from "../../pki/keys"

export interface FakeTls {
  /** What a client has to trust. */
  readonly ca: string
  readonly cert: string
  readonly key: string
}

const dayMs = 86_400_000

const make = async (names: readonly string[]): Promise<FakeTls> => {
  const notBefore = new Date(Date.now() - dayMs)
  const notAfter = new Date(Date.now() + dayMs)
  const root = await createRootAuthority({ keyType: "ecdsa-p256", commonName: "Fake vendor CA", notBefore, notAfter })
  const authority = openAuthority({ certPem: root.certPem, chainPem: "", privateKey: root.privateKey })
  const key = await generateKey("ecdsa-p256")
  const { certPem } = await authority.sign({
    spkiDer: createPublicKey(key).export({ type: "spki", format: "der" }),
    subjectCommonName: names[0] ?? "localhost",
    sans: [...names.map((value) => ({ type: "dns" as const, value })), { type: "ip" as const, value: "127.0.0.1" }],
    ekus: ["serverAuth"],
    notBefore,
    notAfter,
  })
  return { ca: root.certPem, cert: certPem, key: privateKeyPem(key) }
}

/** One for all fakes of a process. */
let shared: Promise<FakeTls> | undefined
export const fakeTls = (): Promise<FakeTls> => (shared ??= make(["localhost", "hooks.test"]))
