import { readFileSync } from 'node:fs'
import { codeOf, ZosError } from '#codec'
import type { ConsentState, Cursor, GroupState } from '#contract'
import { writeAtomic } from '#sys'

type Hex = `0x${string}`

export type Said = { sequence: number; phase: 'running' | 'failed' | 'stopped'; reason: string }

/** A deployment this node has or had a slot of: what it verified, never what it was told. */
export type Watched = {
  group: Hex
  name: string
  consent: ConsentState
  /** Unix milliseconds at which the last step was taken up. */
  taken: number
  /** Why the chain's last word was not taken; '' when it was. */
  held: string
  /** The last report of each slot that the chain took. */
  said: Record<number, Said>
  /** Slots (keys) the chain let go of here: their new place runs, or a migration's time is over. */
  released: number[]
  /** Slots (keys) here that the farmer took back: of which step that placed them, and when that was taken up (Unix ms). */
  back?: Record<number, { step: number; since: number }>
  /** Something happened on chain that has not been looked at yet. */
  dirty: boolean
}

/** All that the provision plane knows, rewritten whole; without it everything comes again from chain and hub. */
export type Pinned = {
  cursor: Cursor | null
  /** The newest member set seen of each group. */
  groups: Record<Hex, GroupState>
  deployments: Record<Hex, Watched>
}

export function loadPinned(path: string): Pinned {
  try {
    return JSON.parse(readFileSync(path, 'utf8')) as Pinned
  } catch (error) {
    if (codeOf(error) === 'ENOENT') return { cursor: null, groups: {}, deployments: {} }
    // forgetting would be dangerous: what was frozen or cancelled would have to be believed again
    throw new ZosError(`Read "${path}": it is damaged; restore it, or remove it to start from the chain alone`, {
      code: 'bad-state',
      kind: 'node',
      cause: error,
    })
  }
}

export const savePinned = (path: string, pinned: Pinned): Promise<void> =>
  writeAtomic(path, JSON.stringify(pinned), { mode: 0o600 })
