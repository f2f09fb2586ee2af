/**
 * The operator's own certificate and key, watched: whoever renews them (an ACME client, configuration management) need not tell us.
 * A pair that does not fit, perhaps half written, is left alone and looked at again.
 */
import { type FSWatcher, watch } from "node:fs"
import { readFile, stat } from "node:fs/promises"
import { dirname } from "node:path"
import { createSecureContext } from "node:tls"
import { AppError, messageOf } from "../errors"
import { parseCertificate, splitChain } from "../pki/certificate"
import { keysMatch, privateKeyPem, readPrivateKey } from "../pki/keys"
import { changeSignal, type TlsLog, type TlsMaterial, type TlsSource } from "./tls-source"

export interface CertificateFilesOptions {
  readonly certPath: string
  readonly keyPath: string
  readonly log: TlsLog
  readonly pollMs?: number
}

const readPem = async (path: string, variable: string): Promise<string> => {
  try {
    return await readFile(path, "utf8")
  } catch (error) {
    throw new AppError("validation", `${variable}: cannot read ${path}: ${messageOf(error)}`, { cause: error })
  }
}

const named = <T>(variable: string, path: string, read: () => T): T => {
  try {
    return read()
  } catch (error) {
    throw new AppError("validation", `${variable}: ${path}: ${messageOf(error)}`, { cause: error })
  }
}

const certVariable = "CERTCTL_SERVER_TLS_CERT_PATH"
const keyVariable = "CERTCTL_SERVER_TLS_KEY_PATH"

const readPair = async (certPath: string, keyPath: string): Promise<TlsMaterial> => {
  const [certText, keyText] = await Promise.all([readPem(certPath, certVariable), readPem(keyPath, keyVariable)])
  const { leafPem, chainPem } = named(certVariable, certPath, () => splitChain(certText))
  const leaf = named(certVariable, certPath, () => parseCertificate(leafPem))
  const key = named(keyVariable, keyPath, () => readPrivateKey(keyText))
  if (!keysMatch(key, leaf.der)) {
    throw new AppError("validation", `${certVariable} and ${keyVariable}: the key does not belong to the certificate`)
  }
  const material = { certificatePem: leafPem + chainPem, privateKeyPem: privateKeyPem(key) }
  // What only the TLS library objects to, such as a key usage without digitalSignature.
  named(certVariable, certPath, () =>
    createSecureContext({ cert: material.certificatePem, key: material.privateKeyPem }),
  )
  return material
}

const warnAboutMode = async (keyPath: string, log: TlsLog): Promise<void> => {
  if (process.platform === "win32") return
  if (((await stat(keyPath)).mode & 0o077) !== 0)
    log.warn(`${keyPath} can be read by others than its owner (chmod 600)`)
}

/** Throws `validation` when the pair cannot be used at the start; later on, the last good pair stays. */
export const openCertificateFiles = async (options: CertificateFilesOptions): Promise<TlsSource> => {
  const { certPath, keyPath, log, pollMs = 5_000 } = options
  let current = await readPair(certPath, keyPath)
  await warnAboutMode(keyPath, log)
  const { onChange, announce } = changeSignal()
  let complaint: string | null = null
  let closed = false

  const look = async (): Promise<void> => {
    try {
      const found = await readPair(certPath, keyPath)
      complaint = null
      if (closed) return
      if (found.certificatePem === current.certificatePem && found.privateKeyPem === current.privateKeyPem) return
      current = found
      await warnAboutMode(keyPath, log)
      log.info(`the server certificate was read anew from ${certPath}`)
      announce()
    } catch (error) {
      // Once per trouble, not once per look.
      if (messageOf(error) !== complaint) log.error(`the former server certificate stays in use: ${messageOf(error)}`)
      complaint = messageOf(error)
    }
  }

  // One look after another: two at once could publish the older of two pairs last.
  let looks = Promise.resolve()
  const check = (): Promise<void> => {
    looks = looks.then(look)
    return looks
  }

  // Folders are watched, not files: a renamed-over file is another inode. Watching is the fast way; it misses network file systems and
  // replaced symlinks further up (Kubernetes secrets), hence the poll.
  const watchers: FSWatcher[] = []
  for (const folder of new Set([dirname(certPath), dirname(keyPath)])) {
    try {
      const watcher = watch(folder, { persistent: false }, () => void check())
      watcher.on("error", (error) => log.warn(`watching ${folder} failed, polling goes on: ${messageOf(error)}`))
      watchers.push(watcher)
    } catch (error) {
      log.warn(`${folder} cannot be watched, its files are polled: ${messageOf(error)}`)
    }
  }
  const timer = setInterval(() => void check(), pollMs)
  timer.unref()

  return {
    current: () => current,
    onChange,
    check,
    close() {
      closed = true
      clearInterval(timer)
      for (const watcher of watchers) watcher.close()
    },
  }
}
