import { ZosError } from '#codec'
import { type Answer, formatWord, parseAnswer, type SignedWord, WORDS_TOPIC } from '#contract'
import { callUnix } from '#sys'

/** Milliseconds until the relayer must have answered: it does within 2 s, whatever became of the word. */
const ANSWER = 3_000
/** What the network plane may take besides, on loaded cores. Milliseconds. */
const SLACK = 5_000
/** Ids whose answers did not come in time, so that they do not lie at the network plane for ever when they do. */
const LATE = 16

/** Gives the relayer a word and tells what it says became of it; throws when it says nothing. */
export type Carry = (word: SignedWord) => Promise<Answer>

const MESSAGES = '/api/v1/messages'
const base64 = (data: string | Uint8Array): string => Buffer.from(data).toString('base64')

/** By the network plane's API on SOCKET, as messages to the overlay's RELAYER, which has PATIENCE ms to answer. */
export function carryBy(socket: string, relayer: string, patience = ANSWER): Carry {
  const late = new Set<string>()

  async function forgetLate(): Promise<void> {
    for (const id of late) {
      const { removed } = await callUnix<{ removed: boolean }>(socket, 'DELETE', `${MESSAGES}/${id}`, { timeout: 1000 })
      if (removed) late.delete(id)
    }
  }

  return async (word) => {
    const body = { dst: { ip: relayer }, topic: base64(WORDS_TOPIC), payload: base64(formatWord(word)) }
    const path = `${MESSAGES}?reply_timeout=${patience / 1000}`
    const timeout = patience + SLACK
    const got = await callUnix<{ id: string; payload?: string }>(socket, 'POST', path, { body, timeout })
    if (got.payload !== undefined) {
      // what was late before has come by now, if it ever does
      if (late.size > 0) void forgetLate().catch(() => {})
      return parseAnswer(Buffer.from(got.payload, 'base64'))
    }
    if (late.size >= LATE) late.delete(late.values().next().value!)
    late.add(got.id)
    throw new ZosError(`Give the relayer at ${relayer} a word: it has not answered for ${patience / 1000} s`, {
      code: 'relayer-silent',
      kind: 'node',
    })
  }
}
