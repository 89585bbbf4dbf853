import { ZosError } from '#codec'

/** Where a file tree comes from, as a user names it. */
export type Source = { kind: 'directory'; path: string } | Image

/** NAME as skopeo takes it, its transport included. */
export type Image = { kind: 'image'; name: string; plainHttp: boolean }

const TRANSPORTS = ['docker-archive:', 'oci:', 'oci-archive:']

/**
 * A registry on this machine may be plain HTTP, as with Docker (127.0.0.0/8 and localhost), when its port is given.
 * Every other one must have TLS.
 */
const LOOPBACK = /^(localhost|127(\.\d{1,3}){3}|\[::1\]):\d+\//

/**
 * Understands `dir:PATH`, `docker://REF`, `docker-archive:FILE[:REF]`, `oci:DIR[:TAG]`, `oci-archive:FILE[:TAG]`, and a
 * Docker name (`nginx`, `HOST:5000/x@sha256:…`). Throws `bad-source`.
 */
export function parseSource(text: string): Source {
  if (text.startsWith('dir:') && text.length > 4)
    return { kind: 'directory', path: text.slice(4).replace(/(.)\/+$/, '$1') }
  for (const transport of TRANSPORTS) {
    if (text.startsWith(transport) && text.length > transport.length)
      return { kind: 'image', name: text, plainHttp: false }
  }
  const bare = ['dir:', ...TRANSPORTS].includes(text)
  const reference = text.startsWith('docker://') ? text.slice(9) : text
  if (bare || !/^[a-zA-Z0-9[][\w.:/@[\]-]*$/.test(reference) || reference.includes('//')) {
    throw new ZosError(
      `Read source "${text}": not one of docker://NAME, docker-archive:FILE, oci:DIR[:TAG], oci-archive:FILE, dir:DIR or a Docker name`,
      { code: 'bad-source' },
    )
  }
  return { kind: 'image', name: `docker://${reference}`, plainHttp: LOOPBACK.test(reference) }
}
