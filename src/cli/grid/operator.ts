import { randomBytes } from 'node:crypto'
import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { ZosError } from '#codec'
import { type Key, keyOf, openRelayer, type Relayer } from '#contract'
import { writeAtomic } from '#sys'
import { signer } from './context.ts'
import { gridDir } from './local.ts'

const file = () => join(gridDir(), 'operator.key')

/** The key that owns the farms of this machine's local grid; MAKE: made if it is not there. */
export async function operator(make: true): Promise<Key>
export async function operator(make?: true): Promise<Key | undefined>
export async function operator(make?: true): Promise<Key | undefined> {
  if (existsSync(file())) return keyOf('operator', Buffer.from(readFileSync(file(), 'utf8').trim(), 'hex'))
  if (!make) return undefined
  const secret = randomBytes(32)
  await writeAtomic(file(), `${secret.toString('hex')}\n`, { mode: 0o600 })
  return keyOf('operator', secret)
}

/** The account of a farm's owner, which sends by itself: the key named by --as, else that of the local grid. */
export async function farmer(said: string | undefined, command: string): Promise<Relayer> {
  const key = said === undefined ? await operator() : undefined
  const { secret, address } = key ?? (await signer(said, command))
  if (address.length !== 42)
    throw new ZosError(
      `zos ${command}: "${said}" is a passkey, and a farm's owner signs with a key of Ethereum's kind`,
      {
        code: 'usage',
      },
    )
  return openRelayer(`0x${Buffer.from(secret).toString('hex')}`)
}
