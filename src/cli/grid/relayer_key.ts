import { readFileSync } from 'node:fs'
import { reasonOf, ZosError } from '#codec'

type Hex = `0x${string}`

/**
 * The account that pays where transactions cost something: 64 hex digits in the file $ZOS_RELAYER_KEY_FILE. Undefined where none is
 * named: a throw-away key does on a chain that is free.
 */
export function relayerKey(): Hex | undefined {
  const path = process.env.ZOS_RELAYER_KEY_FILE
  if (!path) return undefined
  const fail = (reason: string, cause?: unknown) =>
    new ZosError(`Read the relayer's key from "${path}" ($ZOS_RELAYER_KEY_FILE): ${reason}`, {
      code: 'bad-relayer-key',
      ...(cause === undefined ? {} : { cause }),
    })
  let text: string
  try {
    text = readFileSync(path, 'utf8').trim()
  } catch (cause) {
    throw fail(reasonOf(cause), cause)
  }
  const [, digits] = /^(?:0x)?([0-9a-fA-F]{64})$/.exec(text) ?? []
  if (!digits) throw fail('it holds 64 hex digits, a secret key of Ethereum')
  return `0x${digits.toLowerCase()}`
}
