import { join } from 'node:path'

/** A unix socket that leads to a place of the overlay, `mycelium://[ADDRESS]/SERVICE`. */
export type Far = { socket: string; place: string }

/**
 * URLS as programs use them that know no overlay: each place of it by a socket of the folder RUN, under SCHEME; and what has to
 * be served there (`serveFar`).
 */
export function waysTo(
  name: string,
  urls: readonly string[],
  run: string,
  scheme: string,
): { urls: string[]; far: Far[] } {
  const far: Far[] = []
  const ways = urls.map((url, n) => {
    if (!url.startsWith('mycelium:')) return url
    const socket = `${name}-${n}.sock`
    far.push({ socket, place: url })
    return `${scheme}${join(run, socket)}`
  })
  return { urls: ways, far }
}
