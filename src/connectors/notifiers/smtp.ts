/** E-mail over SMTP. TLS is required unless it is switched off, and a password never travels without it. */
import { isIP } from "node:net"
import type { SendMailOptions, Transporter } from "nodemailer"
import * as v from "valibot"
import { AppError, messageOf } from "../../errors"
import { field, optionalSecret } from "../config"
import { addressObjection } from "../outbound-address"
import { defineNotifier, deliveryError, type FailureClass, type Notice } from "./contract"
import { masked, oneLine } from "./delivery.request"

const connectMs = 10_000
const implicitTlsPort = 465

/** A plain address. Display names and lists are not taken: they are where header injection begins. */
const addressForm = /^[^\s@<>(),;:"\\[\]]+@[^\s@<>(),;:"\\[\]]+$/
// biome-ignore lint/suspicious/noControlCharactersInRegex: they are what is looked for
const lineBreakers = /[\r\n\u0000]/
// biome-ignore lint/suspicious/noControlCharactersInRegex: they are what is removed; tab and line feed stay
const controlCharacters = /[\u0000-\u0008\u000b-\u001f\u007f]/g

export const isMailAddress = (text: string): boolean => text.length <= 254 && addressForm.test(text)

const isLoopback = (host: string): boolean =>
  host === "localhost" || (isIP(host) !== 0 && addressObjection(host) === "is a loopback address")

const Config = v.pipe(
  v.object({
    host: field(v.pipe(v.string(), v.nonEmpty("must not be empty")), "Host", "Name or address of the mail server"),
    port: field(
      v.optional(v.pipe(v.number(), v.integer(), v.minValue(1), v.maxValue(65_535)), 587),
      "Port",
      "465 speaks TLS from the first byte, any other port STARTTLS",
    ),
    username: field(v.optional(v.string(), ""), "User name", "Left out: no authentication"),
    password: optionalSecret("Password", "Sent over TLS only, or to this host itself"),
    from_address: field(
      v.pipe(v.string(), v.check(isMailAddress, "must be an e-mail address")),
      "From",
      "Sender of every mail",
    ),
    use_tls: field(v.optional(v.boolean(), true), "TLS", "Off: neither TLS nor STARTTLS"),
  }),
  v.forward(
    v.check(
      ({ username, use_tls, host }) => username === "" || use_tls || isLoopback(host),
      "must be true where a user name is given: the password would travel in the clear",
    ),
    ["use_tls"],
  ),
)

const subjectOf = ({ kind, type, severity, subject }: Notice): string => {
  if (type === "Digest") return subject
  return kind === "alert" ? `[${severity.toUpperCase()}] ${subject}` : `[Event] ${subject}`
}

/** TLS from the first byte on its own port (RFC 8314 section 3.3), STARTTLS on every other, and then nothing without it. */
export const tlsModeOf = (port: number, useTls: boolean) => ({
  secure: useTls && port === implicitTlsPort,
  requireTLS: useTls && port !== implicitTlsPort,
  ignoreTLS: !useTls,
})

interface SmtpFailure {
  readonly code?: string
  readonly responseCode?: number
}

const failureOf = ({ code, responseCode }: SmtpFailure): FailureClass => {
  if (code === "ETIMEDOUT" || code === "ETIMEOUT") return "timeout"
  if (code === "EAUTH" || code === "ENOAUTH") return "auth"
  if (responseCode !== undefined) return responseCode >= 500 ? "upstream_5xx" : "upstream_4xx"
  return code === "EENVELOPE" ? "validation" : "network"
}

/** SMTP counts the other way round than HTTP: 4yz may pass (RFC 5321 section 4.2.1), 5yz will not. */
const lasting = ({ responseCode }: SmtpFailure): string =>
  responseCode === undefined ? "" : responseCode >= 500 ? " (permanent)" : " (transient)"

export const smtp = defineNotifier({
  type: "Email",
  label: "E-mail",
  config: Config,
  example: {
    host: "mail.example.com",
    username: "certctl",
    password: "env:SMTP_PASSWORD",
    from_address: "pki@example.com",
  },
  timeoutMs: 30_000,
  connect({ host, port, username, password = "", from_address: from, use_tls }, { clock, ca, timeoutMs }) {
    const secrets = password === "" ? [] : [password, Buffer.from(`\0${username}\0${password}`).toString("base64")]

    const attempt = async <R>(use: (transport: Transporter) => Promise<R>): Promise<R> => {
      const { createTransport } = await import("nodemailer")
      // One connection per mail: a kept one would have to be noticed when it breaks.
      const transport = createTransport({
        host,
        port,
        ...tlsModeOf(port, use_tls),
        ...(username === "" ? {} : { auth: { user: username, pass: password } }),
        connectionTimeout: Math.min(connectMs, timeoutMs),
        greetingTimeout: Math.min(connectMs, timeoutMs),
        socketTimeout: timeoutMs,
        tls: { minVersion: "TLSv1.2", ...(ca === undefined ? {} : { ca }) },
        disableFileAccess: true,
        disableUrlAccess: true,
      })
      const { promise: late, reject } = Promise.withResolvers<never>()
      const timer = setTimeout(
        () => reject(deliveryError("timeout", `no answer within ${timeoutMs / 1000} s`)),
        timeoutMs,
      )
      try {
        return await Promise.race([use(transport), late])
      } catch (error) {
        if (error instanceof AppError) throw error
        const failure: SmtpFailure = typeof error === "object" && error !== null ? error : {}
        throw deliveryError(failureOf(failure), `${oneLine(masked(messageOf(error), secrets))}${lasting(failure)}`)
      } finally {
        clearTimeout(timer)
        transport.close()
      }
    }

    return {
      async send(notice) {
        const subject = subjectOf(notice)
        if ([subject, notice.recipient, notice.id].some((value) => lineBreakers.test(value))) {
          throw deliveryError("validation", "a header must not hold a line break or NUL")
        }
        if (!isMailAddress(notice.recipient)) {
          throw deliveryError("validation", `${JSON.stringify(notice.recipient)} is not an e-mail address`)
        }
        const mail: SendMailOptions = {
          from,
          to: notice.recipient,
          subject,
          date: clock.now(),
          // The same for every attempt: mail systems drop a second copy.
          messageId: `<${notice.id}@${from.slice(from.indexOf("@") + 1)}>`,
          text: notice.body.replace(controlCharacters, ""),
          ...(notice.html === undefined ? {} : { html: notice.html }),
        }
        await attempt((transport) => transport.sendMail(mail))
      },
      async testConnection() {
        await attempt((transport) => transport.verify())
      },
    }
  },
})
