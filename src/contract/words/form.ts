import { reasonOf, ZosError } from '#codec'
import { z } from '#npm'
import { ackSchema, beatSchema } from '../typed/schema.ts'

type Hex = `0x${string}`

/** The topic of the overlay's messages that carry nodes' words to a relayer. */
export const WORDS_TOPIC = 'zos-words/1'
/** Bytes of a word as it travels: a report of 256 bytes needs some 1100. */
export const MAX_WORD = 2048
/** Bytes of an answer. */
const MAX_ANSWER = 1024

const signature = z.string().regex(/^0x[0-9a-f]{130}$/) as unknown as z.ZodType<Hex>
const wordSchema = z.union([
  z.strictObject({ ack: ackSchema, signature }),
  z.strictObject({ beat: beatSchema, signature }),
])
const answerSchema = z.union([
  z.strictObject({ state: z.literal('posted'), tx: z.string().max(66), block: z.int().min(0) }),
  z.strictObject({ state: z.literal('waiting') }),
  z.strictObject({ state: z.literal('refused'), code: z.string().max(64), reason: z.string().max(600) }),
])

/** What a node signed for the chain: a report on a slot, or a sign of life. Good for one chain and contract, by its digest. */
export type Word = z.infer<typeof wordSchema>

/**
 * What became of a word: it is in block BLOCK by transaction TX; it passed what can be checked and waits its turn; or it was
 * not posted, why, and nothing was spent.
 */
export type Answer = z.infer<typeof answerSchema>

const line = (value: unknown): Buffer => Buffer.from(`${JSON.stringify(value)}\n`)

function parse<T>(schema: z.ZodType<T>, what: string, limit: number, bytes: Uint8Array): T {
  const fail = (reason: string, cause?: unknown) =>
    new ZosError(`Read ${what}: ${reason}`, { code: 'bad-word', ...(cause === undefined ? {} : { cause }) })
  if (bytes.length > limit) throw fail(`${bytes.length} bytes, one has at most ${limit}`)
  try {
    return schema.parse(JSON.parse(Buffer.from(bytes).toString()))
  } catch (cause) {
    throw fail(cause instanceof SyntaxError ? reasonOf(cause) : 'it has not the form of one', cause)
  }
}

export const formatWord = (word: Word): Buffer => line(word)
/** One line of JSON, strict. Throws `bad-word`. */
export const parseWord = (bytes: Uint8Array): Word => parse(wordSchema, 'a word', MAX_WORD, bytes)

export const formatAnswer = (answer: Answer): Buffer => line(answer)
/** Throws `bad-word`. */
export const parseAnswer = (bytes: Uint8Array): Answer => parse(answerSchema, 'an answer', MAX_ANSWER, bytes)
