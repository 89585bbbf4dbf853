import { reasonOf } from '#codec'
import { type Grid, isHeld, type Relayer, type SignedWord, sendBeats, sendReport } from '#contract'
import { sleep } from '#sys'
import type { Carry } from './relayer.ts'

/** Milliseconds in which a relayer that failed is not asked again, doubled with each failure. */
const PAUSE = 10_000
const LONGEST_PAUSE = 600_000
/** Between two looks whether a word that the relayer has is in a block; and until when it should be, unless said otherwise. */
const LOOK = 250
const PATIENCE = 15_000

/** Brings WORD to the chain; resolves when it is there. ACCOUNT posts what the relayer does not within PATIENCE ms. */
export type Post = (grid: Grid, account: Relayer, word: SignedWord, patience?: number) => Promise<void>

/**
 * Posts by the relayer that CARRY leads to, which is believed nothing: only the chain says that it has a word. Where there is no
 * relayer, or it is silent, refuses or lies, the node posts by itself.
 */
export function poster(carry: Carry | undefined, log: (line: string) => void): Post {
  let pause = PAUSE
  let silentUntil = 0
  let said = ''

  const complain = (line: string) => {
    if (said !== line) log(line)
    said = line
  }

  function failed(reason: string): void {
    complain(`${reason}; posting by ourselves`)
    silentUntil = performance.now() + pause
    pause = Math.min(pause * 2, LONGEST_PAUSE)
  }

  async function isThere(grid: Grid, word: SignedWord, from: bigint, patience: number): Promise<boolean> {
    const end = performance.now() + patience
    for (;;) {
      if (await isHeld(grid, word, from)) return true
      if (performance.now() > end) return false
      await sleep(LOOK)
    }
  }

  async function byRelayer(grid: Grid, word: SignedWord, patience: number): Promise<boolean> {
    if (!carry || performance.now() < silentUntil) return false
    const from = await grid.client.getBlockNumber({ cacheTime: 0 })
    try {
      const answer = await carry(word)
      if (answer.state === 'refused') {
        // what it is right about, the chain says again, for nothing
        complain(`relayer: ${answer.reason}`)
        return false
      }
      if (!(await isThere(grid, word, from, answer.state === 'waiting' ? patience : 0))) {
        failed(`relayer: "${answer.state}", and the chain does not have it`)
        return false
      }
      pause = PAUSE
      said = ''
      return true
    } catch (error) {
      failed(reasonOf(error))
      return false
    }
  }

  return async (grid, account, word, patience = PATIENCE) => {
    if (await byRelayer(grid, word, patience)) return
    if ('ack' in word) await sendReport(grid, account, word)
    else await sendBeats(grid, account, [{ ...word.beat, signature: word.signature }])
  }
}
