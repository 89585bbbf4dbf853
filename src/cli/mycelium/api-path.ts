import { codeOf, ZosError } from '#codec'
import { callUnix } from '#sys'
import { places } from '#wire'

/** The socket named by TEXT ("unix:PATH" or a path). */
function socketPath(text: string): string {
  const path = text.startsWith('unix:') ? text.slice(5) : text
  if (path === '' || /^[a-z]+:\/\//.test(path))
    throw new ZosError(`Read API address "${text}": it looks like "unix:/run/mycelium.sock"`, { code: 'bad-api' })
  // sun_path holds 107 bytes and a zero
  if (Buffer.byteLength(path) > 107)
    throw new ZosError(`Read API address "${text}": a unix socket path has at most 107 bytes`, { code: 'bad-api' })
  return path
}

/** GIVEN, else $ZOS_MYCELIUM_API, else beside this node's other sockets. */
export const apiPath = (given?: string): string =>
  socketPath(given ?? (process.env.ZOS_MYCELIUM_API || `${places().run}/mycelium.sock`))

/** One call to the running node. */
export async function ask<T>(method: string, path: string, body?: unknown): Promise<T> {
  const socket = apiPath()
  try {
    return await callUnix<T>(socket, method, path, body === undefined ? {} : { body })
  } catch (error) {
    throw notRunning(error, socket)
  }
}

export function notRunning(error: unknown, socket: string): unknown {
  if (!['ENOENT', 'ECONNREFUSED'].includes(codeOf(error))) return error
  const hint = 'start it with "zos mycelium run", or say where it is by ZOS_MYCELIUM_API=unix:PATH'
  return new ZosError(`Ask the overlay node at "unix:${socket}": none runs there; ${hint}`, {
    code: 'not-running',
    cause: error,
  })
}
