import { connect, type Socket } from 'node:net'
import { type ErrorKind, ZosError } from '#codec'

/** A server takes 16 KiB of headers, and would close the connection instead of saying so. */
const LONGEST_HEAD = 12_000

/**
 * HTTP/1.1 by hand, just what our own daemon answers: loading node:http costs 35 ms, more than all else a command does
 * before its first request (measured; Node 26).
 */
function send(
  socketPath: string,
  head: string,
  body = '',
): Promise<{ status: number; socket: Socket; rest: Buffer; length: number }> {
  return new Promise((resolve, reject) => {
    if (head.length > LONGEST_HEAD) {
      throw new ZosError(
        `Call the node daemon: a name of ${head.length} characters is none of a workload or an image`,
        {
          code: 'name-too-long',
        },
      )
    }
    const socket = connect(socketPath)
    let held = Buffer.alloc(0)
    const failed = (error: Error) => {
      socket.destroy()
      reject(error)
    }
    const onData = (chunk: Buffer) => {
      held = Buffer.concat([held, chunk])
      const end = held.indexOf('\r\n\r\n')
      if (end < 0) return
      socket.pause()
      socket.off('data', onData)
      socket.off('error', failed)
      socket.off('close', early)
      const header = held.subarray(0, end).toString('latin1')
      const length = /\r\ncontent-length: (\d+)/i.exec(header)?.[1]
      resolve({
        status: Number(header.slice(9, 12)),
        socket,
        rest: held.subarray(end + 4),
        length: length ? Number(length) : -1,
      })
    }
    const early = () => reject(daemonClosed())
    socket.on('data', onData)
    socket.on('error', failed)
    socket.on('close', early)
    socket.write(`${head}\r\nhost: zos\r\n\r\n${body}`)
  })
}

const daemonClosed = () =>
  new ZosError('Call the node daemon: it closed the connection', { code: 'daemon-closed', kind: 'node' })

async function readAll(socket: Socket, rest: Buffer, length: number): Promise<string> {
  const chunks = [rest]
  let size = rest.length
  if (length < 0 || size < length) {
    for await (const chunk of socket as AsyncIterable<Buffer>) {
      chunks.push(chunk)
      size += chunk.length
      if (length >= 0 && size >= length) break
    }
  }
  socket.destroy()
  if (size < length) throw daemonClosed()
  return Buffer.concat(chunks).toString()
}

type WireError = { code: string; kind: ErrorKind; message: string; details: Record<string, unknown> }

/** A ZosError that travelled as JSON, as one again. */
export function revive(error: WireError): ZosError {
  return new ZosError(error.message, { code: error.code, kind: error.kind, details: error.details })
}

function thrown(text: string): ZosError {
  try {
    return revive((JSON.parse(text) as { error: WireError }).error)
  } catch {
    return new ZosError(`Call the node daemon: "${text.slice(0, 200)}" is no answer`, {
      code: 'bad-answer',
      kind: 'bug',
    })
  }
}

/** One JSON call; throws what the daemon threw. */
export async function call<T = unknown>(api: string, method: string, path: string, body?: unknown): Promise<T> {
  const text = body === undefined ? '' : JSON.stringify(body)
  const head = `${method} ${path} HTTP/1.1\r\nconnection: close\r\ncontent-type: application/json\r\ncontent-length: ${Buffer.byteLength(text)}`
  const { status, socket, rest, length } = await send(api, head, text)
  const answer = status === 204 ? '' : await readAll(socket, rest, length)
  socket.destroy()
  if (status >= 400) throw thrown(answer)
  return (answer === '' ? undefined : JSON.parse(answer)) as T
}

/** Opens a framed stream (see frames.ts). */
export async function open(api: string, path: string): Promise<Socket> {
  const { status, socket, rest, length } = await send(
    api,
    `POST ${path} HTTP/1.1\r\nconnection: upgrade\r\nupgrade: zos`,
  )
  if (status !== 101) throw thrown(await readAll(socket, rest, length))
  if (rest.length) socket.unshift(rest)
  return socket
}
