import { codeOf, reasonOf, ZosError } from '#codec'
import { type Grid, isHeld, type Relayer, type SignedWord, sendBeats, sendReport } from '#contract'
import { sleep } from '#sys'
import type { Carry } from './relayer.ts'

/** Milliseconds in which a relayer that failed is not asked again, doubled with each failure. */
const PAUSE = 10_000
const LONGEST_PAUSE = 600_000
/** Milliseconds between two looks whether a word is in a block, at first and later; and until it should be, by default. */
const LOOK = 250
const LOOK_LATER = 1_000
const SOON = 2_000
const PATIENCE = 15_000

/**
 * Brings WORD to the chain; resolves when it is there. ACCOUNT posts what the relayer does not within PATIENCE ms. Given the same
 * word again it first looks whether it is there by now.
 */
export type Post = (grid: Grid, account: Relayer, word: SignedWord, patience?: number) => Promise<void>

/**
 * Posts by the relayer that CARRY leads to, which is believed nothing: only the chain says that it has a word. Where there is no
 * relayer, or it is silent, refuses or lies, the node posts by itself.
 */
export function poster(carry: Carry | undefined, log: (line: string) => void): Post {
  let pause = PAUSE
  let silentUntil = 0
  let said = ''
  /** The head when a word was first given to the relayer. */
  const since = new WeakMap<SignedWord, bigint>()

  const complain = (reason: string, what = '') => {
    if (said !== reason) log(`${reason}${what}`)
    said = reason
  }

  function failed(reason: string): void {
    complain(reason, '; posting by ourselves')
    silentUntil = performance.now() + pause
    pause = Math.min(pause * 2, LONGEST_PAUSE)
  }

  async function isThere(grid: Grid, word: SignedWord, from: bigint, patience: number): Promise<boolean> {
    const begun = performance.now()
    for (;;) {
      if (await isHeld(grid, word, from)) return true
      const waited = performance.now() - begun
      if (waited > patience) return false
      await sleep(waited < SOON ? LOOK : LOOK_LATER)
    }
  }

  /** '' when the chain has it, else why the relayer did not bring it there. */
  async function byRelayer(grid: Grid, word: SignedWord, patience: number): Promise<string> {
    if (!carry || performance.now() < silentUntil) return said
    const before = since.get(word)
    const from = before ?? (await grid.client.getBlockNumber({ cacheTime: 0 }))
    since.set(word, from)
    try {
      if (before !== undefined && (await isHeld(grid, word, from))) return done()
      const answer = await carry(word)
      if (answer.state === 'refused') {
        if (answer.code === 'old-word' && (await isHeld(grid, word, from))) return done()
        // what it is right about, the chain says again, for nothing
        complain(`relayer: ${answer.reason}`)
        return said
      }
      if (await isThere(grid, word, from, answer.state === 'waiting' ? patience : 0)) return done()
      failed(`relayer: "${answer.state}", and the chain does not have it`)
    } catch (error) {
      failed(reasonOf(error))
    }
    return said
  }

  function done(): '' {
    pause = PAUSE
    said = ''
    return ''
  }

  return async (grid, account, word, patience = PATIENCE) => {
    const why = carry ? await byRelayer(grid, word, patience) : 'no relayer is named'
    if (why === '') return
    try {
      if ('ack' in word) await sendReport(grid, account, word)
      else await sendBeats(grid, account, [{ ...word.beat, signature: word.signature }])
    } catch (error) {
      if (codeOf(error) !== 'no-funds') throw error
      // there is nobody else: it is asked again whenever the node comes again
      silentUntil = 0
      throw new ZosError(`Post what was signed: ${why}; and this node has no funds`, {
        code: 'no-funds',
        kind: 'node',
        cause: error,
      })
    }
  }
}
