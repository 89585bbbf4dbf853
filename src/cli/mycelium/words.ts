import { readFileSync } from 'node:fs'
import { codeOf, reasonOf } from '#codec'
import {
  type Answer,
  carryWords,
  connectRpc,
  formatAnswer,
  MAX_WORD,
  openGrid,
  openRelayer,
  WORDS_TOPIC,
  type WordCarrier,
} from '#contract'
import { type Message, type Messages, parseOverlayAddress } from '#mycelium'
import { sleep, within } from '#sys'
import type { GridFacts } from '../grid/local.ts'
import { relayerKey } from '../grid/relayer_key.ts'

/** Milliseconds after which an undecided word is answered "waiting"; of one wait for messages; of rest after a failure. */
const PATIENCE = 2_000
const POLL = 60_000
const AGAIN = 2_000
/** Messages in hand at once; the others wait on disk, where they are bounded. */
const AT_ONCE = 1_100

const topic = Buffer.from(WORDS_TOPIC)

/** Codes of what is the relayer's own trouble, not the fault of the word. */
const OURS = new Set(['no-funds', 'not-in-a-block', 'chain-failed', 'overtaken', 'rpc-disagree', 'rpc-unreachable'])

/** What became of a word within PATIENCE ms; HEARD is told even if that is later. */
async function answerTo(
  carrier: WordCarrier,
  { srcPk, payload }: Message,
  patience: number,
  heard: (answer: Answer | undefined) => void,
): Promise<Answer | undefined> {
  // a copy: what is too large is not kept in memory
  const done = carrier.take(srcPk, Buffer.from(payload.subarray(0, MAX_WORD + 1)))
  void done.then(heard, () => {})
  if (await within(patience, done)) return done
  // a stranger is told nothing, however long it takes to know that
  return (await carrier.knows(srcPk)) ? { state: 'waiting' } : undefined
}

/**
 * From now on takes words of nodes as MESSAGES and no other messages, posts them to the chain of the grid that FILE describes (it
 * may come to be there later), and answers each. Until SIGNAL; LOG says who pays, and once why nothing is posted.
 */
export async function relayWords(
  messages: Messages,
  file: string,
  log: (line: string) => void,
  signal: AbortSignal,
  patience = PATIENCE,
): Promise<void> {
  const relayer = openRelayer(relayerKey(), { many: true })
  messages.restrict((_, said, reply) => !reply && said.equals(topic))
  log(`words of nodes are posted by ${relayer.account.address}`)
  let carrier: WordCarrier | undefined
  let failed = ''
  let inHand = 0

  const reach = async (): Promise<WordCarrier> => {
    const facts = JSON.parse(readFileSync(file, 'utf8')) as GridFacts
    const grid = openGrid(await connectRpc(facts.rpc), facts.contract, { since: BigInt(facts.since) })
    return carryWords(grid, relayer)
  }

  async function serve(message: Message): Promise<void> {
    inHand++
    try {
      const answer = await answerTo(carrier!, message, patience, heard)
      const to = parseOverlayAddress(message.srcIp)
      if (answer) messages.push({ to, topic: Buffer.alloc(0), data: formatAnswer(answer), replyTo: message.id })
    } catch (error) {
      complain(error)
    } finally {
      inHand--
    }
  }

  /** Who pays hears why nothing is posted; those whose words they are come again. */
  function heard(answer: Answer | undefined): void {
    if (answer?.state === 'refused' && OURS.has(answer.code)) {
      // once: what is needed is another number each time
      if (failed !== answer.code) log(`words of nodes: ${answer.reason}`)
      failed = answer.code
    }
    if (answer?.state !== 'posted' || failed === '') return
    log('words of nodes are posted again')
    failed = ''
  }

  function complain(error: unknown): void {
    if (failed !== reasonOf(error) && codeOf(error) !== 'ENOENT') log(`words of nodes: ${reasonOf(error)}`)
    failed = reasonOf(error)
  }

  async function turn(): Promise<void> {
    carrier ??= await reach()
    while (inHand >= AT_ONCE) await sleep(20)
    const message = await messages.take({ topic }, { peek: false, timeout: POLL, signal })
    if (message) void serve(message)
  }

  async function follow(): Promise<void> {
    while (!signal.aborted)
      await turn().catch((error: unknown) => {
        complain(error)
        return sleep(AGAIN, signal).catch(() => {})
      })
  }
  void follow()
}
