import { ZosError } from '#codec'
import { readSecret } from '../identity.ts'

/** A private network: its name is public, its key is 32 bytes; who has both may be a peer. */
export type PrivateNetwork = { name: string; key: Buffer }

/** Upstream's limits: a name of 2 to 64 bytes, a key of 32. */
export async function readPrivateNetwork(name: string, keyFile: string): Promise<PrivateNetwork> {
  const bytes = Buffer.byteLength(name)
  if (bytes < 2 || bytes > 64)
    throw new ZosError(`Read network name "${name}": ${bytes} bytes, it has 2 to 64`, { code: 'bad-network-name' })
  return { name, key: await readSecret(keyFile) }
}
