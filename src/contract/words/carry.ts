import { codeOf, reasonOf, ZosError } from '#codec'
import { sleep } from '#sys'
import type { Receipt } from '../actions/deliver.ts'
import type { Grid } from '../actions/grid.ts'
import { sendBeats } from '../actions/nodes.ts'
import type { Relayer } from '../actions/relayer.ts'
import { sendReport } from '../actions/slots.ts'
import { digestOf } from '../typed/digest.ts'
import { recoverSigner } from '../typed/recover.ts'
import type { Ack, Beat } from '../typed/schema.ts'
import { type Answer, parseWord, type Word } from './form.ts'
import { isOld } from './held.ts'
import { openRoster, type Signer } from './roster.ts'

type Hex = `0x${string}`

/** Milliseconds in which signs of life gather; more do while those before them are posted. */
const WINDOW = 25
/** Signs of life in one transaction: 17,000 gas each. */
const BATCH = 64
/** Nodes whose reports are posted at once, of each one after another. */
const LANES = 16
/** Words on their way, of one node and in all. */
const PER_NODE = 32
const IN_ALL = 1024
/** Seconds: the contract passes over what is later. */
const AHEAD = 300
const REASON = 500

type Waiting<T> = { word: T; done: (answer: Answer) => void }

const refused = (code: string, reason: string): Answer => ({ state: 'refused', code, reason: reason.slice(0, REASON) })
const refusal = (error: unknown): Answer => refused(codeOf(error).slice(0, 64) || 'bug', reasonOf(error))
const posted = ({ hash, block }: Receipt): Answer => ({ state: 'posted', tx: hash, block: Number(block) })

const bad = (message: string): ZosError => new ZosError(message, { code: 'bad-word' })

export type WordCarrier = {
  /** A word of the node whose overlay key is SENDER (hex): what became of it; undefined for whoever is no node of the grid. */
  take(sender: string, bytes: Uint8Array): Promise<Answer | undefined>
  /** Whether SENDER is a node of the grid. */
  knows(sender: string): Promise<boolean>
  /** Words taken and refused, transactions made. */
  readonly counters: Readonly<Record<'posted' | 'refused' | 'strangers' | 'transactions', number>>
}

/**
 * Posts words that nodes signed, and pays for them: RELAYER's account has no say by it. Before anything is spent a word is checked
 * for size and form, for its sender being the node that it names and that signed it, for being news to the chain; and a
 * transaction that would revert is not sent. Signs of life go many in a transaction, reports one by one, of a node one after another.
 */
export function carryWords(grid: Grid, relayer: Relayer): WordCarrier {
  const signerOf = openRoster(grid)
  const counters = { posted: 0, refused: 0, strangers: 0, transactions: 0 }
  const beats = new Map<number, Waiting<Beat & { signature: Hex }>>()
  /** By node: who has much to say does not keep others waiting. */
  const acks = new Map<number, Waiting<{ ack: Ack; signature: Hex }>[]>()
  const underWay = new Map<number, number>()
  const posting = new Set<number>()
  let all = 0
  let beating = false

  function post(send: () => Promise<Receipt>): Promise<Answer> {
    return send().then((receipt) => {
      counters.transactions++
      return posted(receipt)
    }, refusal)
  }

  const news = async (word: Word): Promise<Answer | undefined> => {
    try {
      return (await isOld(grid, word)) ? refused('old-word', 'The chain has it already, or a later one') : undefined
    } catch (error) {
      return refusal(error)
    }
  }

  async function postBeats(): Promise<void> {
    const batch = [...beats].slice(0, BATCH)
    for (const [node] of batch) beats.delete(node)
    const fresh: Waiting<Beat & { signature: Hex }>[] = []
    await Promise.all(
      batch.map(async ([, one]) => {
        const { signature, ...beat } = one.word
        const no = await news({ beat, signature })
        if (no) one.done(no)
        else fresh.push(one)
      }),
    )
    if (fresh.length === 0) return
    const sent = fresh.map(({ word }) => word)
    const answer = await post(() => sendBeats(grid, relayer, sent))
    for (const { done } of fresh) done(answer)
  }

  async function postAck(queue: Waiting<{ ack: Ack; signature: Hex }>[]): Promise<void> {
    const { word, done } = queue.shift()!
    done((await news(word)) ?? (await post(() => sendReport(grid, relayer, word))))
  }

  function pumpAcks(): void {
    for (const [node, queue] of acks) {
      if (posting.size >= LANES) return
      if (posting.has(node)) continue
      posting.add(node)
      void postAck(queue).finally(() => {
        posting.delete(node)
        acks.delete(node)
        if (queue.length > 0) acks.set(node, queue)
        pumpAcks()
      })
    }
  }

  async function pumpBeats(): Promise<void> {
    if (beating) return
    beating = true
    while (beats.size > 0) {
      await sleep(WINDOW)
      await postBeats()
    }
    beating = false
  }

  function enqueue(word: Word, done: (answer: Answer) => void): void {
    if ('ack' in word) {
      const queue = acks.get(word.ack.node)
      if (queue) queue.push({ word, done })
      else acks.set(word.ack.node, [{ word, done }])
      pumpAcks()
    } else {
      const { beat, signature } = word
      const before = beats.get(beat.node)
      const isNewer = !before || before.word.time < beat.time
      if (isNewer) beats.set(beat.node, { word: { ...beat, signature }, done })
      const late = isNewer ? before?.done : done
      late?.(refused('old-word', 'A later sign of life of this node waits already'))
      void pumpBeats()
    }
  }

  /** Throws unless WORD is the sender's own and signed by its key. */
  async function check(word: Word, sender: string, signer: Signer): Promise<void> {
    const body = 'ack' in word ? word.ack : word.beat
    if (body.node !== signer.id) throw bad(`Take a word of node ${body.node}: node ${signer.id} sent it`)
    const digest = 'ack' in word ? digestOf(grid.domain, 'Ack', word.ack) : digestOf(grid.domain, 'Beat', word.beat)
    const by = recoverSigner(digest, word.signature)
    const isGood = by !== undefined && (by === signer.key || by === (await signerOf(sender, true))?.key)
    if (!isGood) throw bad(`Take a word of node ${body.node}: its key did not sign it for this chain and contract`)
    if ('beat' in word && word.beat.time > Date.now() / 1000 + AHEAD)
      throw bad(`Take a sign of life of node ${body.node}: it is from the future`)
  }

  async function carry(sender: string, signer: Signer, bytes: Uint8Array): Promise<Answer> {
    const own = underWay.get(signer.id) ?? 0
    if (own >= PER_NODE || all >= IN_ALL)
      return refused('too-many-words', `${own} words of this node wait already, ${all} in all`)
    all++
    underWay.set(signer.id, own + 1)
    try {
      const word = parseWord(bytes)
      await check(word, sender, signer)
      return await new Promise<Answer>((resolve) => enqueue(word, resolve))
    } catch (error) {
      return refusal(error)
    } finally {
      all--
      const left = underWay.get(signer.id)! - 1
      if (left === 0) underWay.delete(signer.id)
      else underWay.set(signer.id, left)
    }
  }

  return {
    counters,
    knows: (sender) =>
      signerOf(sender).then(
        (signer) => signer !== undefined,
        () => false,
      ),
    async take(sender, bytes) {
      const signer = await signerOf(sender).catch(() => undefined)
      if (!signer) {
        counters.strangers++
        return undefined
      }
      const answer = await carry(sender, signer, bytes)
      counters[answer.state === 'posted' ? 'posted' : 'refused']++
      return answer
    },
  }
}
