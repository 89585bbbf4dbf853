import type { Grid } from '../actions/grid.ts'
import { events } from '../actions/logs.ts'
import { seenOf } from '../actions/nodes.ts'
import type { Ack } from '../typed/schema.ts'
import type { Word } from './form.ts'

/** What the chain took of that node on that slot, from block FROM to the head. */
async function saidOf(grid: Grid, { deployment, node, slot }: Ack, from?: bigint): Promise<Ack[]> {
  const to = await grid.client.getBlockNumber({ cacheTime: 0 })
  const topic = `0x${node.toString(16).padStart(64, '0')}` as const
  const found = await events(grid, ['Acked'], [deployment, topic], from === undefined ? { to } : { from, to })
  return found.map(({ args }) => args.ack as Ack).filter((ack) => ack.slot === slot)
}

const isSame = (a: Ack, b: Ack): boolean =>
  a.sequence === b.sequence && a.phase === b.phase && a.time === b.time && a.report === b.report

/** Whether the chain has this very word, of a report from block FROM on; or of a sign of life a later one. */
export async function isHeld(grid: Grid, word: Word, from?: bigint): Promise<boolean> {
  if ('beat' in word) return (await seenOf(grid, word.beat.node)) >= word.beat.time
  return (await saidOf(grid, word.ack, from)).some((said) => isSame(said, word.ack))
}

/** Whether the chain has this word already or a later one of that node on that slot. */
export async function isOld(grid: Grid, word: Word): Promise<boolean> {
  if ('beat' in word) return isHeld(grid, word)
  const { ack } = word
  return (await saidOf(grid, ack)).some(
    (said) => said.sequence === ack.sequence && (said.time > ack.time || isSame(said, ack)),
  )
}
