/**
 * Java keystores: key, certificate and chain under one alias, put in by the host's own keytool, so that whatever else the store
 * holds survives and Java reads it. keytool works on a copy; the engine swaps the finished file in. Passwords reach keytool by its
 * environment only.
 */
import { createHash, randomBytes, X509Certificate } from "node:crypto"
import { mkdir, readdir, readFile, rm, stat, writeFile } from "node:fs/promises"
import { basename, join } from "node:path"
import * as v from "valibot"
import { AppError, messageOf } from "../../errors"
import { certificateBlocks } from "../../pki/pem"
import { pkcs12KeyStore } from "../../pki/pkcs12-key-store"
import { field, secret } from "../config"
import { defineTarget, type Material, type PlannedPlace, type TargetDeps } from "./contract"
import { absoluteFolder, absolutePath, commandLine, proofFields, proofSteps, retentionIn } from "./file-target"

type StoreType = "PKCS12" | "JKS"

const isReference = (value: string): boolean => /^(env|file):/.test(value)

export const javaKeystore = defineTarget({
  type: "JavaKeystore",
  label: "Java keystore",
  config: v.looseObject({
    keystore_path: field(
      absolutePath(),
      "Keystore file",
      "What server.ssl.key-store, certificateKeystoreFile and the like name",
    ),
    keystore_password: v.pipe(
      secret("Keystore password", "Opens the store and the key in it: servers use one password for both"),
      v.check((text) => isReference(text) || text.length >= 6, "must be at least 6 characters, as keytool demands"),
      v.check((text) => !/[\0\r\n]/.test(text), "must be one line"),
    ),
    keystore_type: field(
      v.optional(v.picklist(["PKCS12", "JKS"]), "PKCS12"),
      "Keystore type",
      "PKCS12, or JKS for software that reads nothing newer; that of the file when there is one",
    ),
    alias: field(
      v.optional(
        v.pipe(
          v.string(),
          v.regex(/^[a-zA-Z0-9_.-]+$/, "must be letters, digits, dots, hyphens and underscores"),
          // keytool would take it for an option.
          v.check((alias) => !alias.startsWith("-"), "must not begin with a hyphen"),
          v.maxLength(128, "must be at most 128 characters"),
        ),
        "server",
      ),
      "Alias",
      "The entry that is replaced; keytool makes it lower case",
    ),
    reload_command: field(
      v.optional(commandLine()),
      "Reload command",
      "Makes the server read the file; left out, it does so by itself. A failure is a warning only",
    ),
    create_keystore: field(v.optional(v.boolean(), true), "Create the keystore", "Else a missing file is an error"),
    keytool_path: field(
      v.optional(
        v.pipe(
          v.string(),
          v.regex(/^(keytool|\/[^\0\r\n\t ]+)$/, "must be keytool or an absolute path without blanks"),
          v.check((path) => !path.split("/").includes(".."), "must not contain .. segments"),
        ),
        "keytool",
      ),
      "keytool",
      "Another one than the agent's search path finds; CERTCTL_AGENT_ALLOWED_COMMANDS must allow it",
    ),
    pfx_legacy: field(
      v.optional(v.boolean(), false),
      "Legacy encryption",
      "Hands key and certificate to keytool in 3DES and SHA-1: for Java before 8u301",
    ),
    backup_dir: field(
      v.optional(absoluteFolder()),
      "Backup folder",
      "Takes the previous files; else the keystore's own",
    ),
    ...proofFields,
  }),
  example: {
    keystore_path: "/etc/tomcat9/server.p12",
    keystore_password: "env:KEYSTORE_PASSWORD",
    reload_command: "systemctl restart tomcat9",
    verify_host: "www.example.com",
    verify_port: 8443,
  },

  connect(config, deps) {
    const { keystore_path: path, keystore_type: type, alias } = config
    const keytool = keytoolOf(config.keytool_path, deps)
    const reload =
      config.reload_command === undefined ? null : { key: "reload_command", command: config.reload_command }
    const store = { type, alias, password: config.keystore_password }

    /** SHA-256 of the alias' leaf; null when there is no such key entry. */
    const fingerprintIn = async (file: string): Promise<string | null> => {
      const listed = await keytool(
        ["-list", "-rfc", "-keystore", file, "-storetype", type, "-alias", alias, "-storepass:env", "STORE_PASSWORD"],
        { STORE_PASSWORD: store.password },
      ).catch((error) => {
        if (/Alias <.*> does not exist/.test(messageOf(error))) return ""
        throw error
      })
      const [leaf] = listed.includes("PrivateKeyEntry") ? certificateBlocks(listed) : []
      return leaf === undefined ? null : sha256(leaf)
    }

    const place = async (): Promise<PlannedPlace> => {
      const mode = await stat(path).then(
        (facts) => facts.mode & 0o777,
        () => 0,
      )
      // Its server may be one of those who read it so, and without the password nobody reads the key: the mode stays.
      const isOpen = (mode & 0o007) !== 0
      return {
        path,
        isKey: !isOpen,
        defaultMode: 0o600,
        ...(config.backup_dir === undefined ? {} : { backupFolder: config.backup_dir.replace(/(?<=.)\/+$/, "") }),
      }
    }

    const usable = (key: string, where: PlannedPlace): Promise<void> =>
      deps.checkPlace(where).catch((error) => {
        throw new AppError("validation", `${key}: ${messageOf(error)}`, { cause: error })
      })

    const isThere = (): Promise<boolean> =>
      stat(path).then(
        () => true,
        (error) => {
          if (error.code === "ENOENT") return false
          throw error
        },
      )

    /** The store with the new entry. keytool replaces an entry of the same alias and leaves the others alone. */
    const withEntry = (current: Uint8Array | null, { keyPem, certPem, chainPem }: Material): Promise<Uint8Array> =>
      inPrivateFolder(deps.stateFolder, async (folder) => {
        if (current === null && !config.create_keystore) {
          throw new AppError("validation", `keystore_path: ${path} does not exist, and create_keystore is false`)
        }
        const [source, destination] = [join(folder, "source.p12"), join(folder, "store")]
        const sourcePassword = randomBytes(24).toString("base64url")
        const pfx = pkcs12KeyStore({ keyPem, certPem, chainPem, password: sourcePassword, legacy: config.pfx_legacy })
        await writeFile(source, pfx, { mode: 0o600 })
        if (current !== null) {
          refuseOtherType(current, type)
          await writeFile(destination, current, { mode: 0o600 })
        }
        const from = ["-srckeystore", source, "-srcstoretype", "PKCS12", "-srcalias", "1"]
        const to = ["-destkeystore", destination, "-deststoretype", type, "-destalias", alias]
        // Without -destkeypass a JKS entry keeps the source's random password, and no server could read the key.
        const passwords = ["-srcstorepass:env", "SOURCE_PASSWORD", "-deststorepass:env", "STORE_PASSWORD"]
        await keytool(
          ["-importkeystore", ...from, ...to, ...passwords, "-destkeypass:env", "STORE_PASSWORD", "-noprompt"],
          { SOURCE_PASSWORD: sourcePassword, STORE_PASSWORD: store.password },
        )
        if ((await fingerprintIn(destination)) !== leafFingerprint(certPem)) {
          throw new AppError("upstream", `keytool did not put the certificate under the alias ${alias}`)
        }
        return readFile(destination)
      })

    return {
      async plan(material) {
        const planned = await place()
        if (!planned.isKey) deps.warn(`${path} is readable by everybody: only its password protects the key in it`)
        return {
          address: path,
          deploymentId: new X509Certificate(material.certPem).fingerprint.replaceAll(":", ""),
          files: [],
          mergedFiles: [{ ...planned, merge: (current) => withEntry(current, material) }],
          steps: [
            ...(reload === null ? [] : [{ kind: "reload" as const, run: reload, isOptional: true }]),
            ...proofSteps(config),
          ],
          isInPlace: async () => (await isThere()) && (await fingerprintIn(path)) === leafFingerprint(material.certPem),
          backupRetention: retentionIn(config.backup_retention),
        }
      },

      async check() {
        await usable("keystore_path", await place())
        if (config.backup_dir !== undefined) {
          const backup = join(config.backup_dir, basename(path))
          await usable("backup_dir", { path: backup, isKey: true, defaultMode: 0o600 })
        }
        if (reload !== null) deps.checkCommand(reload)
        if (await isThere()) {
          refuseOtherType(await readFile(path), type)
          await fingerprintIn(path)
        } else if (!config.create_keystore) {
          throw new AppError("validation", `keystore_path: ${path} does not exist, and create_keystore is false`)
        } else await keytool(["-help"], {})
      },
    }
  },
})

const sha256 = (bytes: Uint8Array): string => createHash("sha256").update(bytes).digest("hex")
const leafFingerprint = (certPem: string): string => sha256(new X509Certificate(certPem).raw)

const javaOptions = [
  // Its words are compared, so they must not depend on the host's language.
  "-J-Duser.language=en",
  "-J-Duser.country=US",
  // Halves the processor time of a program that runs for a moment; not every virtual machine knows these.
  "-J-XX:+IgnoreUnrecognizedVMOptions",
  "-J-XX:TieredStopAtLevel=1",
  "-J-XX:+UseSerialGC",
]

/** Runs keytool and returns what it printed. Only its default name is trusted: any other program is the operator's to allow. */
const keytoolOf =
  (program: string, { checkCommand, start }: Pick<TargetDeps, "checkCommand" | "start">) =>
  async (args: readonly string[], env: Readonly<Record<string, string>>): Promise<string> => {
    if (program !== "keytool") checkCommand({ key: "keytool_path", command: program })
    const { stdout } = await start({ name: `keytool ${args[0]}`, program, args: [...args, ...javaOptions], env })
    return stdout
  }

/** keytool would turn the store into the other type without a word, and the server would find a file it cannot read. */
const refuseOtherType = (bytes: Uint8Array, type: StoreType): void => {
  const magic = Buffer.from(bytes.subarray(0, 4)).toString("hex")
  const found = magic === "feedfeed" ? "JKS" : magic === "cececece" ? "JCEKS" : magic.startsWith("30") ? "PKCS12" : null
  if (found === type) return
  throw new AppError(
    "validation",
    found === null
      ? "keystore_path names a file that is no keystore"
      : `keystore_type is ${type}, but the file at keystore_path is of type ${found}`,
  )
}

/** Those in use by this process. The folder they are in belongs to one agent, so any other was left by a killed one. */
const foldersInUse = new Set<string>()
const folderPrefix = "keystore-"

const inPrivateFolder = async <R>(stateFolder: string, task: (folder: string) => Promise<R>): Promise<R> => {
  for (const name of await readdir(stateFolder)) {
    const left = join(stateFolder, name)
    if (name.startsWith(folderPrefix) && !foldersInUse.has(left)) await rm(left, { recursive: true, force: true })
  }
  const folder = join(stateFolder, `${folderPrefix}${randomBytes(8).toString("hex")}`)
  foldersInUse.add(folder)
  try {
    await mkdir(folder, { mode: 0o700 })
    return await task(folder)
  } finally {
    await rm(folder, { recursive: true, force: true })
    foldersInUse.delete(folder)
  }
}
