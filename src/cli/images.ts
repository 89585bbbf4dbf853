import type { ImageView } from '#wire'
import { daemonCall } from './daemon.ts'
import { JSON_FLAG, parseFlags } from './flags.ts'
import { bytesText, table } from './terminal.ts'

export default async function images(args: string[]): Promise<number> {
  const { flags } = parseFlags('images', args, { json: JSON_FLAG })
  const all = await daemonCall<ImageView[]>('GET', '/images')
  if (flags.json) process.stdout.write(`${JSON.stringify(all)}\n`)
  else {
    const rows = all.map((i) => [i.name, i.digest.slice(0, 12), bytesText(i.size), i.created])
    process.stdout.write(table(['NAME', 'DIGEST', 'SIZE', 'PUBLISHED'], rows))
  }
  return 0
}
