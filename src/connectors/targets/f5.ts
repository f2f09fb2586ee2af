/**
 * F5 BIG-IP: every deployment makes new certificate and key objects, and one transaction points the client-SSL profile at them.
 * So there is no moment with half a pair, and going back is pointing at the former objects again.
 */
import { randomInt, X509Certificate } from "node:crypto"
import { readFile } from "node:fs/promises"
import * as v from "valibot"
import { AppError, messageOf } from "../../errors"
import { field, secret } from "../config"
import { defineTarget, type Material } from "./contract"
import { type BigIp, bigIp, type ObjectKind, type ProfileIdentity } from "./f5.client"
import { ownObjects } from "./f5.objects"
import { absolutePath, durationSeconds, proofFields, proofSteps, retentionIn } from "./file-target"
import { joinPem } from "./pem-target"

export const f5 = defineTarget({
  type: "F5",
  label: "F5 BIG-IP",
  isManagedRemotely: true,
  config: v.looseObject({
    host: field(
      v.pipe(
        v.string(),
        v.regex(/^[a-zA-Z0-9.\-:[\]]+$/, "must be a host name or an IP address"),
        v.maxLength(253, "must be at most 253 characters"),
      ),
      "Host",
      "Management address",
    ),
    port: field(
      v.optional(v.pipe(v.number(), v.integer(), v.minValue(1), v.maxValue(65535)), 443),
      "Port",
      "Of the management interface",
    ),
    username: field(
      v.pipe(v.string(), v.nonEmpty("must not be empty"), v.maxLength(256, "must be at most 256 characters")),
      "User",
      "Role Certificate Manager or Administrator in the partition",
    ),
    password: secret("Password", "Of the user"),
    partition: field(
      v.optional(
        v.pipe(
          v.string(),
          v.regex(/^[a-zA-Z0-9_-]{1,64}$/, "must be 1 to 64 letters, digits, hyphens and underscores"),
        ),
        "Common",
      ),
      "Partition",
      "Of the profile and of the objects that are made",
    ),
    ssl_profile: field(
      v.pipe(v.string(), v.regex(/^[a-zA-Z0-9_.-]{1,256}$/, "must be a profile's name without its partition")),
      "Client SSL profile",
      "Must exist; gets certificate, key and chain",
    ),
    insecure: field(
      v.optional(v.boolean(), false),
      "Skip the TLS check",
      "Tells the password and the key to whoever answers at the address: server_ca_path is the better way",
    ),
    server_ca_path: field(
      v.optional(absolutePath()),
      "CA file",
      "PEM on the agent's host: what the management certificate is checked against, in place of the usual authorities",
    ),
    timeout: field(v.optional(durationSeconds, 30), "Time limit", "Of every call, in seconds"),
    ...proofFields,
  }),
  example: {
    host: "bigip.internal",
    username: "certctl",
    password: "env:BIGIP_PASSWORD",
    ssl_profile: "www_clientssl",
    server_ca_path: "/etc/certctl/bigip-ca.pem",
    verify_host: "www.example.com",
  },

  connect(config, deps) {
    const { partition } = config
    const address = `${config.host}:${config.port}`
    const profile = `/${partition}/${config.ssl_profile}`
    const own = ownObjects(deps.stateFolder, `${address.toLowerCase()} ${profile}`)

    const device = async (): Promise<BigIp> => {
      const { server_ca_path: caPath } = config
      const ca =
        caPath === undefined
          ? undefined
          : await readFile(caPath, "utf8").catch((error) => {
              throw new AppError("validation", `server_ca_path: ${messageOf(error)}`, { cause: error })
            })
      if (config.insecure) {
        deps.warn(
          `insecure is set: the certificate of ${address} is not checked, and whoever answers there gets the key`,
        )
      }
      const peer = { host: config.host, port: config.port, timeoutMs: Math.max(1, config.timeout * 1000) }
      return bigIp(
        { ...peer, ...(ca === undefined ? {} : { ca }), ...(config.insecure ? { isUnchecked: true } : {}) },
        config,
      )
    }

    /** A key must not stay behind in the upload folder. Nothing else than an upload can reach it there, so one overwrites it. */
    const wipeUploads = async (session: BigIp): Promise<void> => {
      for (const upload of own.uploads()) {
        await session.upload(upload, Buffer.from("\n"))
        own.forgetUpload(upload)
      }
    }

    const removeObjects = async (session: BigIp, keep: readonly (string | null)[]): Promise<void> => {
      const problems: string[] = []
      for (const { kind, path } of own.objects()) {
        if (keep.includes(path)) continue
        try {
          await session.remove(kind, path)
          own.forgetObject(path)
        } catch (error) {
          problems.push(messageOf(error))
        }
      }
      if (problems.length > 0) throw new AppError("upstream", problems.join("; "))
    }

    return {
      plan(material) {
        const parts = partsOf(material, partition, deps.clock.now())
        const wanted: ProfileIdentity = {
          cert: parts.cert.path,
          key: parts.key.path,
          chain: parts.chain?.path ?? null,
        }
        let session: Promise<BigIp> | null = null
        const connected = () => (session ??= device())
        let before: ProfileIdentity | null = null

        return {
          address: `${address} ${profile}`,
          deploymentId: `f5-${parts.cert.name}-${Math.floor(deps.clock.now().getTime() / 1000)}`,
          files: [],
          locks: [`f5 ${address.toLowerCase()} ${profile}`],
          isInPlace: async () => {
            const bigip = await connected()
            const present = await bigip.profile(profile)
            if (present.cert === null || (present.chain === null) !== (wanted.chain === null)) return false
            return (await bigip.fingerprint(present.cert)) === leafFingerprint(material.certPem)
          },
          steps: [
            {
              kind: "action",
              name: `pointing ${profile} on ${address} at the new certificate`,
              run: async () => {
                const bigip = await connected()
                before = await bigip.profile(profile)
                const made = [parts.cert, parts.key, ...(parts.chain === null ? [] : [parts.chain])]
                own.add(
                  made.map(({ kind, path }) => ({ kind, path })),
                  [parts.key.name],
                )
                for (const part of made) await bigip.upload(part.name, Buffer.from(part.pem))
                for (const part of made) await bigip.install(part.kind, part.installName, part.name)
                await wipeUploads(bigip)
                await bigip.assign(profile, wanted)
              },
              undo: async () => {
                const former = before
                if (former === null) return
                const bigip = await connected()
                // Asked, not remembered: the answer to a commit may have been lost.
                if ((await bigip.profile(profile)).cert === wanted.cert) await bigip.assign(profile, former)
                const tidy = async () => {
                  await wipeUploads(bigip)
                  await removeObjects(bigip, [
                    former.cert,
                    former.key,
                    former.chain,
                    ...olderThan(own.objects(), parts.stamp),
                  ])
                }
                await tidy().catch((error) => deps.warn(`${address}: what was made is not gone: ${messageOf(error)}`))
              },
              settle: async () => {
                const bigip = await connected()
                const { cert, key, chain } = before ?? wanted
                await wipeUploads(bigip)
                await removeObjects(bigip, [wanted.cert, wanted.key, wanted.chain, cert, key, chain])
              },
            },
            ...proofSteps(config, true),
          ],
          backupRetention: retentionIn(config.backup_retention),
        }
      },

      async check() {
        const { cert } = await (await device()).profile(profile)
        if (cert === null) throw new AppError("upstream", `the profile ${profile} has no certificate to go back to`)
      },
    }
  },
})

const leafFingerprint = (certPem: string): string =>
  new X509Certificate(certPem).fingerprint256.replaceAll(":", "").toLowerCase()

interface Part {
  readonly kind: ObjectKind
  /** Of the object and of the uploaded file. */
  readonly name: string
  /** What the install command wants: the device puts a bare name into Common. */
  readonly installName: string
  readonly path: string
  readonly pem: string
}

const partsOf = ({ certPem, chainPem, keyPem }: Material, partition: string, now: Date) => {
  // Milliseconds in nanoseconds; the rest tells two of the same millisecond apart.
  const stamp = (BigInt(now.getTime()) * 1_000_000n + BigInt(randomInt(1_000_000))).toString()
  const part = (kind: ObjectKind, role: string, pem: string): Part => {
    // With the suffix, which the device would add by itself otherwise.
    const name = `certctl-${role}-${stamp}.${kind === "key" ? "key" : "crt"}`
    const path = `/${partition}/${name}`
    return { kind, name, path, installName: partition === "Common" ? name : path, pem: joinPem(pem) }
  }
  return {
    stamp,
    cert: part("cert", "cert", certPem),
    key: part("key", "key", keyPem),
    chain: chainPem.trim() === "" ? null : part("cert", "chain", chainPem),
  }
}

/** The former deployments' objects: their own settling removes them. */
const olderThan = (objects: readonly { path: string }[], stamp: string): string[] =>
  objects.map(({ path }) => path).filter((path) => !path.includes(`-${stamp}.`))
