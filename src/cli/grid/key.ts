import { ZosError } from '#codec'
import { listKeys, newKey } from '#keys'
import { JSON_FLAG, parseFlags } from '../flags.ts'
import { table } from '../terminal.ts'
import { keysDir } from './local.ts'
import { newPassphrase } from './passphrase.ts'

/** `zos key new NAME [--passkey]`, `zos key ls`: members' keys, encrypted at rest in $ZOS_HOME/keys. `zos key hub FILE`: a hub key. */
export default async function key(args: string[]): Promise<number> {
  const { flags, rest } = parseFlags('key', args, {
    passkey: { kind: 'switch', about: 'with new: a P-256 key that signs as a WebAuthn authenticator does' },
    json: JSON_FLAG,
  })
  const [verb, name, ...more] = rest
  if (verb === 'new' && name && more.length === 0) {
    const { passkey } = flags
    const made = await newKey(keysDir(), name, await newPassphrase(name), { passkey })
    const facts = { name, address: made.address, seal: made.seal }
    process.stdout.write(flags.json ? `${JSON.stringify(facts)}\n` : `${name}: ${made.address}\n`)
    return 0
  }
  if (verb === 'ls' && name === undefined) {
    const keys = await listKeys(keysDir(), (why) => process.stderr.write(`zos: ${why.message}\n`))
    const text = table(
      ['NAME', 'ADDRESS', 'SEAL'],
      keys.map((k) => [k.name, k.address, k.seal]),
    )
    process.stdout.write(flags.json ? `${JSON.stringify(keys)}\n` : text)
    return 0
  }
  if (verb === 'hub' && name && more.length === 0) {
    const made = (await import('./hub_key.ts')).hubKeyAt(name)
    process.stdout.write(flags.json ? `${JSON.stringify({ key: made })}\n` : `${made}\n`)
    return 0
  }
  throw new ZosError('zos key: write zos key new NAME [--passkey] | ls [--json] | hub FILE', { code: 'usage' })
}
