import { createPrivateKey, generateKeyPairSync, type KeyObject } from 'node:crypto'
import { existsSync, readFileSync, writeFileSync } from 'node:fs'
import { keyName } from '#cas'
import { reasonOf, ZosError } from '#codec'

/** The Ed25519 key (PKCS #8, PEM) in FILE. */
function readHubKey(file: string): KeyObject {
  try {
    const key = createPrivateKey(readFileSync(file))
    if (key.asymmetricKeyType !== 'ed25519') throw new Error(`it is a key of kind "${key.asymmetricKeyType}"`)
    return key
  } catch (cause) {
    throw new ZosError(`Read hub key "${file}": ${reasonOf(cause)}; "zos key hub FILE" makes one`, {
      code: 'bad-hub-key',
      cause,
    })
  }
}

/** $ZOS_HUB_KEY: a file with the key that hubs with an access file know this uploader by, and members a reader. */
export function hubKey(): KeyObject | undefined {
  const file = process.env.ZOS_HUB_KEY
  return file ? readHubKey(file) : undefined
}

/** The name of the hub key in FILE, which is made if it is not there. */
export function hubKeyAt(file: string): string {
  if (!existsSync(file)) {
    const pem = generateKeyPairSync('ed25519').privateKey.export({ type: 'pkcs8', format: 'pem' })
    writeFileSync(file, pem, { mode: 0o600, flag: 'wx' })
  }
  return keyName(readHubKey(file))
}
