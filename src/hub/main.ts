// The hub as a process of its own, on 127.0.0.1; ends on SIGTERM.
// usage: tools/node.sh src/hub/main.ts --dir DIR --port N
import { parseArgs } from 'node:util'
import { serveHub } from './server.ts'

const { values } = parseArgs({ options: { dir: { type: 'string' }, port: { type: 'string' } } })
if (values.dir === undefined || values.port === undefined) {
  console.error('usage: main.ts --dir DIR --port N')
  process.exit(2)
}
try {
  await serveHub({ dir: values.dir, port: Number(values.port) })
  for (const signal of ['SIGTERM', 'SIGINT'] as const) process.once(signal, () => process.exit(0))
} catch (error) {
  console.error((error as Error).message)
  process.exit(1)
}
