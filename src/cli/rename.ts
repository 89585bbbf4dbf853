import { ZosError } from '#codec'
import { daemonCall, pathOf } from './daemon.ts'
import { parseFlags } from './flags.ts'

export default async function rename(args: string[]): Promise<number> {
  const { rest } = parseFlags('rename', args, {})
  const [from, name] = rest
  if (!from || name === undefined || rest.length > 2)
    throw new ZosError('zos rename: write zos rename WORKLOAD NEWNAME', { code: 'usage' })
  await daemonCall('POST', `${pathOf('workloads', from)}/rename`, { name })
  return 0
}
