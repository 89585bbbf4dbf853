import assert from 'node:assert/strict'
import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'

/** What a workload wrote: records of 21 bytes of header, the length at 1, then the bytes. */
function written(log: string): string {
  const bytes = readFileSync(log)
  let text = ''
  for (let at = 0; at + 21 <= bytes.length; ) {
    const end = at + 21 + bytes.readUInt32LE(at + 1)
    text += bytes.toString('latin1', at + 21, end)
    at = end
  }
  return text
}

/** The seconds in which the workload with NAME in its environment ran on the node of HOME, as its program wrote them. */
export function seconds(home: string, name: string): number[] {
  const base = join(home, 'workloads')
  const texts = readdirSync(base).flatMap((id) => {
    const { env } = JSON.parse(readFileSync(join(base, id, 'spec.json'), 'utf8')) as { env: string[] }
    return env.includes(`NAME=${name}`) ? [written(join(base, id, 'output.log'))] : []
  })
  return [...texts.join('').matchAll(/^(\d{10})$/gm)].map(([, s]) => Number(s))
}

/** The two ran one after the other: the last second of one lies before the first of the other's stretch. */
export function apart(first: number[], then: number[]): void {
  assert.ok(first.length > 0 && then.length > 0, `one never ran: ${first.length} and ${then.length} seconds written`)
  const both = first.filter((s) => s >= then[0]! && s <= then.at(-1)!)
  assert.deepEqual(both, [], 'no second in which both ran')
}
