import { join } from 'node:path'
import { newKey } from '#keys'
import type { Node } from './harness.ts'

export const PASSPHRASE = 'a passphrase for tests'

/**
 * Members' keys, in files as `zos key new` writes them, but for what the passphrase costs: each use of one made at full cost
 * takes 0.4 s of CPU. Tests make some of those, too.
 */
export async function giveKeys(node: Node, names: string[]): Promise<void> {
  const cost = { N: 2 ** 10, r: 8, p: 1 }
  for (const name of names) await newKey(join(node.home, 'keys'), name, PASSPHRASE, { cost })
}
