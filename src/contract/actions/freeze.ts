import { codeOf, ZosError } from '#codec'
import type { Key } from '../keys/keys.ts'
import { digestOf } from '../typed/digest.ts'
import { freezeArgs } from './consent.ts'
import { readConsent } from './deployments.ts'
import type { Grid } from './grid.ts'
import { placeOf } from './groups.ts'
import { type Relayer, write } from './relayer.ts'

type Hex = `0x${string}`

/** Freezes a deployment at once, by one member alone. */
export async function freeze(
  grid: Grid,
  relayer: Relayer,
  key: Key,
  group: Hex,
  name: string,
): Promise<{ until: number }> {
  for (let attempt = 0; ; attempt++) {
    const { group: state, state: consent } = await readConsent(grid, group, name)
    if (consent.status === 'none')
      throw new ZosError(`Freeze "${name}": there is no such deployment`, { code: 'no-deployment' })
    const member = placeOf(state, key.address)
    // room for a chain whose clock is behind ours: a minute, of a short time a quarter
    const { freezeSeconds } = state.set
    const until = Math.floor(Date.now() / 1000) + freezeSeconds - Math.min(60, Math.floor(freezeSeconds / 4))
    const f = { group, epoch: state.set.epoch, name, sequence: consent.sequence, until }
    const signature = { member, signature: key.sign(digestOf(grid.domain, 'Freeze', f)) }
    try {
      await write(grid, relayer, 'freeze', freezeArgs(f, signature))
      return { until }
    } catch (error) {
      // an update may have come in between; a stop must not fail for that
      const code = codeOf(error)
      if (code === 'contract-AlreadyFroze')
        throw new ZosError(
          `Freeze "${name}": "${key.name}" used its one freeze of this epoch; another member can, or the group holds it: zos freeze ${name} --hold`,
          { code, cause: error },
        )
      if (attempt === 3 || (code !== 'contract-NotTheSuccessor' && code !== 'contract-StaleEpoch')) throw error
    }
  }
}
