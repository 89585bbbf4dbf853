// The hub as a process of its own, on 127.0.0.1; ends on SIGTERM. A bucket's credentials come from AWS_ACCESS_KEY_ID and
// AWS_SECRET_ACCESS_KEY.
// usage: tools/node.sh src/hub/main.ts (--dir DIR | --s3 http(s)://HOST/BUCKET[/PREFIX]) --port N [--access FILE]
//   [--grid FILE [--name URL]…]
import { parseArgs } from 'node:util'
import { readPolicy } from './access.ts'
import { serveHub } from './server.ts'

const string = { type: 'string' } as const
const options = { dir: string, s3: string, port: string, access: string, grid: string }
const { values } = parseArgs({ options: { ...options, name: { ...string, multiple: true } } })
const at = values.s3 === undefined ? values.dir : `s3:${values.s3}`
if (at === undefined || values.port === undefined || (values.s3 !== undefined && values.dir !== undefined)) {
  console.error('usage: main.ts (--dir DIR | --s3 URL) --port N [--access FILE] [--grid FILE [--name URL]…]')
  process.exit(2)
}
try {
  const policy = values.access === undefined ? undefined : readPolicy(values.access)
  await serveHub({ at, port: Number(values.port), policy, grid: values.grid, names: values.name ?? [] })
  for (const signal of ['SIGTERM', 'SIGINT'] as const) process.once(signal, () => process.exit(0))
} catch (error) {
  console.error((error as Error).message)
  process.exit(1)
}
