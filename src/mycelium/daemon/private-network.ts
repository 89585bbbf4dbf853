import { Socket } from 'node:net'
import { connect, type TLSSocket, TLSSocket as TlsSocket } from 'node:tls'
import { reasonOf } from '#codec'
import type { PrivateNetwork } from './network-key.ts'

const HANDSHAKE_TIMEOUT = 3_000
const SAME = 'has it the same network name and key?'
/** With a SHA-256 hash: the only ones a pre-shared key given by callback is good for (RFC 8446 §4.2.11). */
const CIPHERS = 'TLS_AES_128_GCM_SHA256:TLS_CHACHA20_POLY1305_SHA256'

function tlsOver(raw: Socket, client: boolean, { name, key }: PrivateNetwork): TLSSocket {
  const options = { ciphers: CIPHERS, minVersion: 'TLSv1.3' as const }
  if (client)
    return connect({
      ...options,
      socket: raw,
      ca: [],
      pskCallback: () => ({ psk: key, identity: name }),
      checkServerIdentity: () => undefined,
    })
  // a server option the types know of only where a server is made; TLSSocket reads it all the same
  const server = { ...options, isServer: true, pskCallback: (_: unknown, id: string) => (id === name ? key : null) }
  return new TlsSocket(raw, server)
}

/** Until both sides have shown that they know the key; says why not. */
function shaken(tls: TLSSocket, client: boolean): Promise<void> {
  return new Promise((resolve, reject) => {
    const failed = (reason: string) => {
      clearTimeout(limit)
      reject(new Error(reason))
    }
    const limit = setTimeout(() => failed(`no TLS handshake within 3 s; ${SAME}`), HANDSHAKE_TIMEOUT)
    // what OpenSSL has to say has the places of its sources in it
    tls.once('error', (error: Error & { reason?: string }) =>
      failed(`the TLS handshake failed (${error.reason ?? reasonOf(error)}); ${SAME}`),
    )
    tls.once('close', () => failed(`it closed the connection; ${SAME}`))
    tls.once(client ? 'secureConnect' : 'secure', () => {
      clearTimeout(limit)
      // a certificate instead of the key proves nothing here
      if (Object.keys(tls.getPeerCertificate()).length > 0) failed('it showed a certificate, not the key')
      else resolve()
    })
  })
}

/**
 * Makes the TCP connection FD one of the private network, TLS 1.3 by its key; what passes in it comes and goes in plain
 * at PLAINFD, a unix socket. Takes both descriptors over and closes each with the other. Resolves once it stands.
 */
export async function secure(network: PrivateNetwork, fd: number, plainFd: number, client: boolean): Promise<void> {
  const raw = new Socket({ fd, readable: true, writable: true })
  const plain = new Socket({ fd: plainFd, readable: true, writable: true })
  const tls = tlsOver(raw, client, network)
  const end = () => {
    for (const one of [tls, raw, plain]) one.destroy()
  }
  plain.on('error', end)
  try {
    await shaken(tls, client)
  } catch (error) {
    end()
    throw error
  }
  tls.on('error', end).once('close', end)
  plain.once('close', end)
  tls.pipe(plain)
  plain.pipe(tls)
}
