/** Refuses bodies over the limit before anybody is authenticated, whether their length is announced or not. */
import type { Context, MiddlewareHandler } from "hono"
import { bareError } from "./error-answers"
import type { ApiEnv } from "./operation"

/** null: longer than `most`. */
const readUpTo = async (body: ReadableStream<Uint8Array>, most: number): Promise<Uint8Array<ArrayBuffer> | null> => {
  const parts: Uint8Array[] = []
  let length = 0
  const reader = body.getReader()
  for (;;) {
    const { done, value } = await reader.read()
    if (done) break
    length += value.byteLength
    if (length > most) {
      await reader.cancel()
      return null
    }
    parts.push(value)
  }
  const whole = new Uint8Array(length)
  let offset = 0
  for (const part of parts) {
    whole.set(part, offset)
    offset += part.byteLength
  }
  return whole
}

export const bodyLimit =
  (maxBytes: number): MiddlewareHandler<ApiEnv> =>
  async (c, next) => {
    if (c.req.method === "GET" || c.req.method === "HEAD") return next()
    const announced = c.req.header("content-length")
    const tooLarge = (context: Context<ApiEnv>) =>
      bareError(context, 413, `request body must be at most ${maxBytes} bytes`)
    // Looked at first: asking for the body makes a stream of it, which costs more than reading it whole.
    if (announced !== undefined) return Number(announced) > maxBytes ? tooLarge(c) : next()
    if (c.req.raw.body === null) return next()
    const body = await readUpTo(c.req.raw.body, maxBytes)
    if (body === null) return tooLarge(c)
    // The stream is used up; c.req.text(), json(), arrayBuffer() and parseBody() read from here.
    Object.assign(c.req.bodyCache, { arrayBuffer: Promise.resolve(body.buffer) })
    return next()
  }
